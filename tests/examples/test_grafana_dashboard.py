import json
import re
from pathlib import Path
from typing import Any

import pytest

from sam_backend import metrics
from sam_backend.service.service_metrics import ServiceMetrics
from sam_testing.service import SamService

Json = dict[str, Any]


@pytest.fixture
def dashboard() -> Json:
    found: Json = json.loads(Path("examples/grafana/label-studio-sam.json").read_text())
    return found


def expressions(dashboard: Json) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def series() -> dict[str, set[str]]:
    """Each series of /metrics with its labels."""
    found: dict[str, set[str]] = {}
    for family in ServiceMetrics(SamService().app.extensions["service"]).collect():
        names = {family.name, *(sample.name for sample in family.samples)}
        if family.type == "counter":
            names.add(f"{family.name}_total")
        labels = {label for sample in family.samples for label in sample.labels}
        for collector in (metrics.requests, metrics.errors, metrics.refused):
            if collector.describe()[0].name == family.name:  # it has no sample before the first event
                labels |= set(collector._labelnames)
        found |= dict.fromkeys(names, labels)
    return found


def test_every_series_and_label_of_the_dashboard_is_one_that_the_service_has(dashboard: Json) -> None:
    known = series()

    for expression in expressions(dashboard):
        for name, selector in re.findall(r"\b([a-z_]+)\{([^}]*)\}", expression):
            assert name in known, name
            labels = set(re.findall(r"(\w+)!?=", selector)) - {"job", "instance"}
            assert labels <= known[name], expression
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert set(re.split(r", *", grouped)) <= set().union(*known.values()), expression
    assert len(expressions(dashboard)) >= 9


def test_every_metric_of_the_service_but_python_internals_is_on_the_dashboard(dashboard: Json) -> None:
    shown = " ".join(expressions(dashboard))

    known = ServiceMetrics(SamService().app.extensions["service"]).collect()
    families = {family.name for family in known if family.name.startswith("sam_")}
    assert [name for name in sorted(families) if name not in shown] == []


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: Json) -> None:
    panels = dashboard["panels"]
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24
    assert all(panel["datasource"]["uid"] == "${source}" and panel["description"] for panel in panels)
