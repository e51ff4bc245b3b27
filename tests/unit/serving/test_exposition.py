"""Metrics of several processes, exposed as one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from diffusion_serving.observability.exposition import expose, merged


def test_metrics_of_processes_are_added_up() -> None:
    def process(images: int, start: float) -> CollectorRegistry:
        registry = CollectorRegistry()
        Counter("images", "Finished.", registry=registry).inc(images)
        Counter("requests", "By route.", ("route",), registry=registry).labels(f"/{images}").inc()
        Histogram("seconds", "Time.", buckets=(1.0, 2.0), registry=registry).observe(images)
        Gauge("build_info", "Always 1.", ("x",), registry=registry).labels("y").set(1)
        Gauge("process_start_time_seconds", "Begin.", registry=registry).set(start)
        Gauge("process_resident_memory_bytes", "Memory.", registry=registry).set(100)
        return registry

    families = [*process(1, 50.0).collect(), *process(2, 40.0).collect()]
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in merged(families)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert samples == {
        ("images_total",): 3,
        ("requests_total", "/1"): 1,
        ("requests_total", "/2"): 1,
        ("seconds_bucket", "1.0"): 1,
        ("seconds_bucket", "2.0"): 2,
        ("seconds_bucket", "+Inf"): 2,
        ("seconds_count",): 2,
        ("seconds_sum",): 3,
        ("build_info", "y"): 1,
        ("process_start_time_seconds",): 40,
        ("process_resident_memory_bytes",): 200,
    }
    text, media = expose(families)
    assert media.startswith("text/plain; version=")
    assert text.count(b"# TYPE images_total counter") == 1
    assert b"\nimages_total 3.0\n" in text
