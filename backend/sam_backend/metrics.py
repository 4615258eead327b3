"""Prometheus metrics of the service.

Other modules update these objects. The values of cache, runs and model are read when `/metrics` is requested.
Labels have fixed sets of values, so that no request can add time series.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

STAGES = ("parse", "fetch", "decode", "embed", "segment", "encode", "total")
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 100.0)

registry = CollectorRegistry()
ProcessCollector(registry=registry)

stage_seconds = Histogram(
    "sam_stage_seconds",
    "Time of one stage of a prediction: parse (read and parse the body), fetch, decode, embed, segment, encode; "
    "total is the whole request.",
    ["stage"],
    buckets=BUCKETS_S,
    registry=registry,
)
requests = Counter("sam_requests", "Answered requests by route and status.", ["route", "status"], registry=registry)
errors = Counter("sam_errors", "Failed requests by the class of the error.", ["kind"], registry=registry)
refused = Counter(
    "sam_refused", "Requests refused before any work on them, by reason, such as busy.", ["reason"], registry=registry
)
heavy_running = Gauge("sam_heavy_requests_running", "Heavy requests that are running.", registry=registry)
heavy_waiting = Gauge("sam_heavy_requests_waiting", "Heavy requests that are waiting.", registry=registry)

for _stage in STAGES:  # every series exists from the start, so that rates count the first event
    stage_seconds.labels(_stage)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Measure the body of a `with` statement as one of `STAGES`, even if it raises."""
    began = perf_counter()
    try:
        yield
    finally:
        stage_seconds.labels(name).observe(perf_counter() - began)
