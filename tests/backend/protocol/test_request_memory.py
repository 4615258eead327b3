"""What bodies of a hostile client cost: measured in processes of their own."""

import pytest

from sam_testing.memory import peak_growth

MIB = 1 << 20
SIZE = 48 * MIB
OVERHEAD = 32 * MIB  # of the tasks that are allowed, of messages

SETUP = """
import io
from sam_testing.service import SamService
from sam_backend.protocol.requests import PredictRequest
service = SamService()
service.client.post("/predict", data=b"{}")  # what is imported late is there now
SIZE = 48 << 20
def fill(head, unit, tail):
    body = bytearray(head)
    body += unit * ((SIZE - len(head) - len(tail)) // len(unit))
    body = body[:-1] if body.endswith(b",") else body
    body += tail
    return bytes(body)
"""

XML = r"<View><Image name=\"image\" value=\"$image\"/><BrushLabels name=\"b\" toName=\"image\"/></View>"
CONFIG = f'"label_config": "{XML}"'.encode()
POINT = b'{"type": "keypoint", "from_name": "k", "to_name": "image", "value": {"x": 1, "y": 1}}'
CLICK = b'"params": {"context": {"result": [' + POINT + b"]}}"
TASK = b'{"id": 1, "data": {"image": "/data/upload/1/image.png"}'

BODIES = {
    "arrays instead of an object": (b"[", b"[],", b"]"),
    "arrays instead of tasks": (b'{"tasks": [', b"[],", b"]}"),
    "empty tasks": (b'{"tasks": [', b'{"data":{}},', b'], "label_config": ""}'),
    "tasks with escaped names": (b'{"tasks": [', rb'{"\u0064ata":{}},', b'], "label_config": ""}'),
    "arrays in the context": (
        b'{"tasks": [' + TASK + b"}], " + CONFIG + b', "params": {"context": {"result": [',
        b"[],",
        b"]}}}",
    ),
    "empty results in the context": (
        b'{"tasks": [' + TASK + b"}], " + CONFIG + b', "params": {"context": {"result": [',
        b'{"type":""},',
        b"]}}}",
    ),
    "annotations of arrays": (
        b'{"tasks": [' + TASK + b', "annotations": [',
        b"[],",
        b"]}], " + CONFIG + b", " + CLICK + b"}",
    ),
    "annotations of masks": (
        b'{"tasks": [' + TASK + b', "annotations": [',
        b"0,255,13,7,",
        b"0]}], " + CONFIG + b", " + CLICK + b"}",
    ),
    "many predictions": (
        b'{"tasks": [' + TASK + b', "predictions": [',
        b'{"model_version":"a1"},',
        b"]}], " + CONFIG + b"}",
    ),
    "other data of arrays": (
        b'{"tasks": [{"data": {"image": "/data/upload/1/image.png", "more": [',
        b"[],",
        b"]}}], " + CONFIG + b", " + CLICK + b"}",
    ),
    "many fields in the data": (
        b'{"tasks": [{"data": {"a": 1',
        b',"b":1',
        b"}}], " + CONFIG + b", " + CLICK + b"}",
    ),
    "arrays as pages": (b'{"tasks": [{"data": {"image": [', b"[],", b"]}}], " + CONFIG + b", " + CLICK + b"}"),
    "short pages": (b'{"tasks": [{"data": {"image": [', b'"ab",', b"]}}], " + CONFIG + b", " + CLICK + b"}"),
    "a long address": (
        b'{"tasks": [{"data": {"image": "\xf0\x9f\x98\x80',
        b"a",
        b'"}}], ' + CONFIG + b", " + CLICK + b"}",
    ),
    "a long config": (b'{"tasks": [' + TASK + b'}], "label_config": "\xf0\x9f\x98\x80', b"a", b'"}'),
    "a long project": (b'{"project": "', b"9", b'", "tasks": [' + TASK + b"}], " + CONFIG + b"}"),
    "a long number": (b'{"tasks": [{"id": ', b"9", b', "data": {}}], ' + CONFIG + b"}"),
    "a long path of an error": (b'{"tasks": [' + TASK + b"}, ", b"1,", b"1]}"),
    "a long webhook": (b'{"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [', b'{"id":1},', b"]}"),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_large_body_costs_at_most_three_times_its_size(body: str) -> None:
    head, unit, tail = BODIES[body]
    path = "/webhook" if "webhook" in body else "/predict"

    growth, status = peak_growth(
        f"{SETUP}\nbody = fill({head!r}, {unit!r}, {tail!r})\nassert 47 << 20 < len(body) <= 48 << 20, len(body)",
        f"result = service.client.post({path!r}, data=io.BytesIO(body), content_length=len(body)).status_code",
    )

    assert status < 500
    assert growth < 2 * SIZE + OVERHEAD  # beside the body itself
