"""Metrics of Ray replicas while replicas come, leave and miss scrapes."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from diffusion_serving.backends.rayserve import metrics_aggregator as aggregator_module
from diffusion_serving.backends.rayserve.metrics_aggregator import MetricsAggregator
from diffusion_serving.observability.exposition import merged


def replica_metrics(images: int, waiting: int = 0) -> list[Metric]:
    """Metrics of a replica with `images` finished images and `waiting` queued requests."""
    registry = CollectorRegistry()
    Counter("images", "Images.", registry=registry).inc(images)
    Gauge("waiting", "Requests.", registry=registry).set(waiting)
    seconds = Histogram("seconds", "Seconds.", buckets=(1.0,), registry=registry)
    for _ in range(images):
        seconds.observe(0.5)
    return list(registry.collect())


def values(aggregator: MetricsAggregator) -> dict[str, float]:
    samples = [sample for family in merged(aggregator.families) for sample in family.samples]
    return {sample.name: sample.value for sample in samples}


def test_replicas_are_shown_with_their_last_metrics() -> None:
    aggregator = MetricsAggregator()
    aggregator.take({"a": replica_metrics(1, 4), "b": replica_metrics(2, 5)}, [], complete=True)
    aggregator.take({"a": replica_metrics(3, 1), "b": replica_metrics(4, 1)}, [], complete=True)
    assert (values(aggregator)["images_total"], values(aggregator)["waiting"]) == (7, 2)


def test_a_replica_that_misses_a_scrape_is_shown_with_its_last_metrics() -> None:
    aggregator = MetricsAggregator()
    aggregator.take({"a": replica_metrics(1), "b": replica_metrics(2, 5)}, [], complete=True)
    aggregator.take({"a": replica_metrics(3)}, [], complete=False)
    assert (values(aggregator)["images_total"], values(aggregator)["waiting"]) == (5, 5)
    aggregator.take({}, [], complete=False)
    assert values(aggregator)["images_total"] == 5


def test_metrics_that_only_grow_stay_after_their_replica_has_left() -> None:
    aggregator = MetricsAggregator()
    aggregator.take({"a": replica_metrics(1, 1), "b": replica_metrics(2, 5)}, [], complete=True)
    aggregator.take({"a": replica_metrics(3, 1)}, [], complete=True)
    now = values(aggregator)
    assert (now["images_total"], now["waiting"]) == (5, 1)
    assert (now["seconds_count"], now["seconds_bucket"]) == (5, 5)


def test_a_replica_that_was_taken_for_gone_counts_once() -> None:
    aggregator = MetricsAggregator()
    aggregator.take({"b": replica_metrics(2, 5)}, [], complete=True)
    aggregator.take({}, [], complete=True)
    assert aggregator.settled == {"b"}
    aggregator.take({"b": replica_metrics(4, 3)}, [], complete=True)
    assert (values(aggregator)["images_total"], values(aggregator)["waiting"]) == (4, 3)
    assert aggregator.settled == frozenset()


def test_a_new_replica_learns_of_those_that_left_before_it() -> None:
    old, new = MetricsAggregator(), MetricsAggregator()
    old.take({"b": replica_metrics(2, 5)}, [], complete=True)
    new.take({"a": replica_metrics(1)}, [old.besides(["a", "new"])], complete=True)
    assert (values(new)["images_total"], values(new)["waiting"]) == (3, 0)
    assert old.besides([*new.settled, "a", "new"]) == {}


def test_the_latest_of_several_records_of_a_replica_counts() -> None:
    aggregator = MetricsAggregator()
    aggregator.take({"b": replica_metrics(2)}, [], complete=True)
    aggregator.take({}, [{"b": replica_metrics(5)}, {"b": replica_metrics(3)}], complete=True)
    assert values(aggregator)["images_total"] == 5


def test_an_answer_that_was_overtaken_does_not_lower_a_count() -> None:
    aggregator = MetricsAggregator()
    aggregator.take({"a": replica_metrics(4)}, [], complete=True)
    aggregator.take({"a": replica_metrics(3)}, [], complete=True)
    assert values(aggregator)["images_total"] == 4


def test_the_number_of_replicas_remembered_after_they_left_is_bounded() -> None:
    aggregator = MetricsAggregator()
    for number in range(aggregator_module._REMEMBERED + 5):
        aggregator.take({str(number): replica_metrics(1)}, [], complete=True)
    aggregator.take({}, [], complete=True)
    assert values(aggregator)["images_total"] == aggregator_module._REMEMBERED
