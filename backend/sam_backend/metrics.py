"""Prometheus metrics of the service.

Other modules update these objects. The values of cache, runs and model are read when `/metrics` is requested.
Labels have fixed sets of values, so that no request can add time series.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

STAGES = ("parse", "fetch", "decode", "detect", "embed", "segment", "encode", "total")
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 100.0)

registry = CollectorRegistry()
ProcessCollector(registry=registry)

stage_seconds = Histogram(
    "sam_stage_seconds",
    "Time of one stage of a prediction: parse (read and parse the body), fetch, decode, detect, embed, segment, "
    "encode; total is the whole request.",
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

_measured: ContextVar[dict[str, float] | None] = ContextVar("measured_stages", default=None)

for _stage in STAGES:  # every series exists from the start, so that rates count the first event
    stage_seconds.labels(_stage)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Measure the body of a `with` statement as one of `STAGES`, even if it raises."""
    began = perf_counter()
    try:
        yield
    finally:
        observe(name, perf_counter() - began)


def observe(name: str, seconds: float) -> None:
    """Record the time of one of `STAGES`."""
    stage_seconds.labels(name).observe(seconds)
    add_to_request(name, seconds)


def add_to_request(name: str, seconds: float) -> None:
    """Add to the stages of the current request only: the time that it waited for another thread's work."""
    stages = _measured.get()
    if stages is not None:
        stages[name] = stages.get(name, 0.0) + seconds


@contextmanager
def measured_stages() -> Iterator[dict[str, float]]:
    """Yield the seconds of each stage that this thread measures inside the block; an inner block shares them."""
    outer = _measured.get()
    if outer is not None:
        yield outer
        return
    stages: dict[str, float] = {}
    token = _measured.set(stages)
    try:
        yield stages
    finally:
        _measured.reset(token)
