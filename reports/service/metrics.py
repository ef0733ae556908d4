"""What Prometheus reads: counted by every worker, added up when it asks."""

import os
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's: where workers keep their counts
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "requests", "Requests by route, method and status.", "route", "method", "status"
        )
        self.seconds = Histogram(
            "tritonmoe_request_seconds",
            "From the first byte of a request to the last of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.uploads = self._counter("uploads", "Reports sent, by what became of them.", "result")
        self.bytes = self._counter("upload_bytes", "Bytes of reports received.")
        self.refused = self._counter(
            "refused", "Requests refused before their work, by the reason.", "reason"
        )

    def exposition(self, reports: Callable[[], int]) -> bytes:
        """The text that Prometheus scrapes, of all workers together."""
        registry = self.registry
        if FOLDER_VARIABLE in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        stored = CollectorRegistry()
        stored.register(_Stored(reports))
        return generate_latest(registry) + generate_latest(stored)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"tritonmoe_{name}", help_text, labels, registry=self.registry)


class _Stored:
    def __init__(self, reports: Callable[[], int]) -> None:
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("tritonmoe_reports_stored", "Reports that are kept.", self._reports())
