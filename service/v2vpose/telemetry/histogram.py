"""A histogram at a tenth of the client library's cost, for what a request observes many times.

One thread observes and one thread collects, and they are the same: the event loop's. So there is no
lock, and an observation is a search in a sorted tuple.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Series:
    """The observations with one set of label values.

    Args:
        bounds: upper bounds of the buckets, rising; one more bucket takes the rest.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value into the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    """A Prometheus histogram.

    Args:
        name: of the metric.
        documentation: of the metric.
        label_names: may be empty.
        buckets: upper bounds, rising.
        registry: where it is collected.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label_names = tuple(label_names)
        self._bounds = tuple(buckets)
        self._series: dict[tuple[str, ...], Series] = {}
        if not label_names:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Series:
        """Return the series with these label values."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Series(self._bounds)
        return series

    def observe(self, value: float) -> None:
        """Observe a value of a histogram without labels."""
        self._series[()].observe(value)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """See `prometheus_client.registry.Collector`."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, series in self._series.items():
            buckets = list(zip(names, accumulate(series.counts), strict=True))
            family.add_metric(values, buckets, series.total)
        yield family
