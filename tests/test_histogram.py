"""Our histogram against the client library's, sample by sample."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from v2vpose.telemetry.histogram import Histogram

BOUNDS = (0.25, 0.5, 1.0, 2.0)
values = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([*BOUNDS, 0.0, 0.3, 1.5, 2.5, 1e9]))
)


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Every sample by name and labels; when a series was created is nobody's business."""
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


@given(values)
def test_it_says_what_the_client_librarys_says(observed: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    one = Histogram("x_seconds", "x", ("stage",), buckets=BOUNDS, registry=ours)
    other = prometheus_client.Histogram(
        "x_seconds", "x", ("stage",), buckets=BOUNDS, registry=theirs
    )
    for stage, value in observed:
        one.labels(stage).observe(value)
        other.labels(stage).observe(value)
    assert samples(ours) == samples(theirs)


def test_without_labels_it_is_there_before_the_first_observation() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("size", "x", buckets=BOUNDS, registry=registry)
    assert registry.get_sample_value("size_count") == 0
    histogram.observe(0.5)
    assert registry.get_sample_value("size_bucket", {"le": "0.5"}) == 1
    assert registry.get_sample_value("size_bucket", {"le": "0.25"}) == 0
    assert b'size_bucket{le="+Inf"} 1.0' in generate_latest(registry)
