"""Metrics that are computed when Prometheus reads them: model, embedding cache, runs."""

import platform
from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from sam_backend.errors import BackendError
from sam_backend.metrics import registry
from sam_backend.runs.ledger import STATES
from sam_backend.service.service import Service

RUN_STATES = (*STATES, "interrupted")


class ServiceMetrics:
    """All metrics of a service, those of the registry included; an argument for `generate_latest`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Read every metric now."""
        yield from registry.collect()
        yield from self._model()
        yield from self._cache()
        yield self._runs()

    def _model(self) -> Iterator[Metric]:
        model = self._service.model
        yield InfoMetricFamily(
            "sam_build",
            "Versions of this program.",
            value={"version": version("label-studio-sam"), "python": platform.python_version()},
        )
        yield InfoMetricFamily(
            "sam_model", "The model that answers clicks.", value={"name": model.name, "version": model.version}
        )
        yield GaugeMetricFamily("sam_model_ready", "1 if the model is loaded, else 0.", model.state == "ready")

    def _cache(self) -> Iterator[Metric]:
        cache = self._service.cache.statistics()
        yield CounterMetricFamily("sam_embedding_cache_hits", "Embeddings found in memory.", cache.hits)
        yield CounterMetricFamily("sam_embedding_cache_misses", "Embeddings not found in memory.", cache.misses)
        yield GaugeMetricFamily("sam_embedding_cache_bytes", "Memory of the embeddings.", cache.bytes_held)
        yield GaugeMetricFamily(
            "sam_embedding_cache_limit_bytes", "Maximum memory for embeddings.", cache.bytes_allowed
        )

    def _runs(self) -> Metric:
        family = GaugeMetricFamily("sam_runs", "Bulk runs by state.", labels=["state"])
        try:
            states = self._service.runs.count_by_state()
        except BackendError:  # a ledger that cannot be read: /api/runs names it
            return family
        for state in RUN_STATES:
            family.add_metric([state], states[state])
        return family
