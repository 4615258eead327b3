"""Requests recorded between a real Label Studio and a backend, sent to ours.

`LABEL_STUDIO_RECORDINGS` names the folder: one JSON file a scenario, `exchanges` with `request` (method, path, json).
The same scenarios, in the small, stand in test_routes.py, so that nothing depends on the recordings alone.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface

from sam_backend.shapes.brush_rle import decode_mask
from sam_testing.service import SamService, png_image

FOLDER = os.environ.get("LABEL_STUDIO_RECORDINGS")
FILES = sorted(Path(FOLDER).glob("*.json")) if FOLDER else []
pytestmark = pytest.mark.skipif(not FILES, reason="LABEL_STUDIO_RECORDINGS names no folder with recordings")

# scenario number -> objects that a person means; every other interactive scenario means one
OBJECTS = {12: 2, 14: 0, 19: 2, 21: 0}


def exchanges() -> list[Any]:
    found = []
    for file in FILES:
        for i, exchange in enumerate(json.loads(file.read_text())["exchanges"]):
            if exchange["to"] == "backend" and "path" in exchange["request"]:
                found.append(pytest.param(int(file.name[:2]), exchange["request"], id=f"{file.stem}-{i}"))
    return found


def service_with_pictures_for(request: dict[str, Any]) -> SamService:
    """Every address of the request has a picture, of the size that the browser showed."""
    service = SamService()
    addresses = [value for task in request.get("tasks", []) for value in task.get("data", {}).values()]
    pages = [page for value in addresses for page in (value if isinstance(value, list) else [value])]
    service.fake_fetcher.images = {page: png_image(640, 480) for page in pages}
    for prompt in ((request["params"]["context"] or {}).get("result", [])) if "params" in request else []:
        page = pages[prompt.get("item_index") or 0]
        service.fake_fetcher.images[page] = png_image(prompt["original_width"], prompt["original_height"])
    return service


@pytest.mark.parametrize(("scenario", "request_sent"), exchanges())
def test_a_recorded_request_gets_the_answer_that_label_studio_expects(
    scenario: int, request_sent: dict[str, Any]
) -> None:
    body = request_sent.get("json") or {}
    service = service_with_pictures_for(body)

    response = service.client.open(request_sent["path"], method=request_sent["method"], json=body or None)

    assert response.status_code in (200, 201), response.text
    if request_sent["path"] != "/predict":
        return
    results = response.get_json()["results"]
    assert len(results) == len(body["tasks"])
    context = body["params"]["context"]
    if context is None:
        assert results == [[] for _ in results]
        return
    check_prediction(results[0], context["result"], OBJECTS.get(scenario, 1), body["label_config"])


def check_prediction(prediction: dict[str, Any], prompts: list[dict[str, Any]], objects: int, config: str) -> None:
    regions = prediction["result"]
    assert len({region["id"] for region in regions}) == objects
    assert not {region["id"] for region in regions} & {prompt["id"] for prompt in prompts}
    if regions:
        errors = LabelInterface(config).validate_prediction(prediction, return_errors=True)
        assert errors == []
    labels = {label for prompt in prompts for label in prompt["value"].get("labels", [])}
    labels |= {label for prompt in prompts for label in prompt["value"].get("rectanglelabels", [])}
    for region in regions:
        mine = [prompt for prompt in prompts if prompt.get("item_index") == region.get("item_index")]
        size = (region["original_height"], region["original_width"])
        assert size == (mine[0]["original_height"], mine[0]["original_width"])
        assert region["type"] in ("brushlabels", "brush", "labels")
        assert set(region["value"].get(region["type"], labels)) <= labels
        mask = decode_mask(region["value"]["rle"], *size)
        assert mask.any()
        assert lies_near(mask, mine)
    assert re.fullmatch(r"\S+", prediction["model_version"])


def lies_near(mask: np.ndarray, prompts: list[dict[str, Any]]) -> bool:
    """The middle of the mask is within the prompts' bounds, given the test segmenter's discs and boxes."""
    height, width = mask.shape
    y, x = np.argwhere(mask).mean(axis=0) + 0.5
    reach = 0.35 * max(height, width)
    return any(
        abs(x - prompt["value"]["x"] * width / 100) < reach and abs(y - prompt["value"]["y"] * height / 100) < reach
        for prompt in prompts
    )
