"""What a scrape of Ray replicas shows while they come, go and keep silent."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from diffusion_serving.backends.rayserve import metrics_aggregator as ledger_module
from diffusion_serving.backends.rayserve.metrics_aggregator import MetricsAggregator
from diffusion_serving.observability.exposition import merged


def told(images: int, waiting: int = 0) -> list[Metric]:
    """What a replica tells that has made so many images, and has so many requests waiting."""
    registry = CollectorRegistry()
    Counter("images", "Images.", registry=registry).inc(images)
    Gauge("waiting", "Requests.", registry=registry).set(waiting)
    seconds = Histogram("seconds", "Seconds.", buckets=(1.0,), registry=registry)
    for _ in range(images):
        seconds.observe(0.5)
    return list(registry.collect())


def shown(ledger: MetricsAggregator) -> dict[str, float]:
    samples = [sample for family in merged(ledger.families) for sample in family.samples]
    return {sample.name: sample.value for sample in samples}


def test_replicas_are_shown_as_they_told_last() -> None:
    ledger = MetricsAggregator()
    ledger.take({"a": told(1, 4), "b": told(2, 5)}, [], complete=True)
    ledger.take({"a": told(3, 1), "b": told(4, 1)}, [], complete=True)
    assert (shown(ledger)["images_total"], shown(ledger)["waiting"]) == (7, 2)


def test_one_that_misses_a_scrape_is_shown_as_it_was() -> None:
    ledger = MetricsAggregator()
    ledger.take({"a": told(1), "b": told(2, 5)}, [], complete=True)
    ledger.take({"a": told(3)}, [], complete=False)
    assert (shown(ledger)["images_total"], shown(ledger)["waiting"]) == (5, 5)
    ledger.take({}, [], complete=False)
    assert shown(ledger)["images_total"] == 5


def test_of_one_that_has_left_what_only_grows_stays() -> None:
    ledger = MetricsAggregator()
    ledger.take({"a": told(1, 1), "b": told(2, 5)}, [], complete=True)
    ledger.take({"a": told(3, 1)}, [], complete=True)
    now = shown(ledger)
    assert (now["images_total"], now["waiting"]) == (5, 1)
    assert (now["seconds_count"], now["seconds_bucket"]) == (5, 5)


def test_one_that_was_thought_to_have_left_counts_once() -> None:
    ledger = MetricsAggregator()
    ledger.take({"b": told(2, 5)}, [], complete=True)
    ledger.take({}, [], complete=True)
    assert ledger.settled == {"b"}
    ledger.take({"b": told(4, 3)}, [], complete=True)
    assert (shown(ledger)["images_total"], shown(ledger)["waiting"]) == (4, 3)
    assert ledger.settled == frozenset()


def test_a_new_replica_learns_of_those_that_left_before_it() -> None:
    old, new = MetricsAggregator(), MetricsAggregator()
    old.take({"b": told(2, 5)}, [], complete=True)
    new.take({"a": told(1)}, [old.besides(["a", "new"])], complete=True)
    assert (shown(new)["images_total"], shown(new)["waiting"]) == (3, 0)
    assert old.besides([*new.settled, "a", "new"]) == {}


def test_of_several_memories_the_latest_counts() -> None:
    ledger = MetricsAggregator()
    ledger.take({"b": told(2)}, [], complete=True)
    ledger.take({}, [{"b": told(5)}, {"b": told(3)}], complete=True)
    assert shown(ledger)["images_total"] == 5


def test_an_answer_that_was_overtaken_does_not_take_a_count_back() -> None:
    ledger = MetricsAggregator()
    ledger.take({"a": told(4)}, [], complete=True)
    ledger.take({"a": told(3)}, [], complete=True)
    assert shown(ledger)["images_total"] == 4


def test_no_more_than_so_many_that_have_left_are_remembered() -> None:
    ledger = MetricsAggregator()
    for number in range(ledger_module._REMEMBERED + 5):
        ledger.take({str(number): told(1)}, [], complete=True)
    ledger.take({}, [], complete=True)
    assert shown(ledger)["images_total"] == ledger_module._REMEMBERED
