"""Valid requests and seeded random mutations of them."""

import base64
import io
import json
import random
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from sam_testing.label_studio import (
    BRUSH_CONFIG,
    PAGES_CONFIG,
    PALETTE_CONFIG,
    key_point,
    predict_request,
    rectangle,
    setup_request,
    with_palette,
)

JSON = (("Content-Type", "application/json"), ("Host", "127.0.0.1:9090"))


@dataclass(frozen=True)
class Request:
    """What a WSGI server hands over."""

    method: str
    path: str
    body: bytes = b""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = JSON


@cache
def image() -> str:
    """A 40 x 20 PNG as a data URL: no network."""
    pixels = np.linspace(0, 255, 40 * 20 * 3).reshape(20, 40, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@cache
def good_requests() -> tuple[Request, ...]:
    """Requests as Label Studio, the page and scripts send them."""
    data = {"image": image()}
    drawn = {"id": "a", "type": "brushlabels", "from_name": "brush", "to_name": "image"}
    drawn |= {"original_width": 40, "original_height": 20, "value": {"format": "rle", "rle": [0, 1, 2, 3]}}
    stored: dict[str, Any] = {"id": 7, "data": data, "project": 1, "annotations": [{"result": [drawn]}]}
    stored["predictions"] = [{"model_version": "disc", "score": 0.5, "result": [drawn]}]
    predictions = [
        predict_request([key_point(30, 40)], data=data),
        predict_request([key_point(30, 40), key_point(60, 70, "p2", is_positive=False)], data=data),
        predict_request([rectangle(10, 10, 50, 60, rotation=30)], data=data),
        predict_request(with_palette(key_point(30, 40)), PALETTE_CONFIG, data),
        predict_request([key_point(5, 5, item_index=1)], PAGES_CONFIG, {"images": [image(), image()]}),
        predict_request(None, data=data),
        predict_request([], data=data),
        predict_request(None, tasks=[stored, {**stored, "id": 8}]),
        predict_request([key_point(50, 50)], tasks=[stored]),
    ]
    webhooks: list[dict[str, Any]] = [
        {"action": "ANNOTATION_CREATED", "annotation": {"id": 1}, "project": {"id": 1}, "task": {"id": 1}},
        {"action": "PROJECT_UPDATED", "project": {"id": 1, "title": "Cats"}},
        {"action": "START_TRAINING", "project": {"id": 1}},
        {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": 1}, {"id": 2}]},
    ]
    run = {"project": 1, "detector": "classical", "label_map": {"object": "Cat"}, "score_threshold": 0.5}
    run |= {"filter": {"ids": [1, 2], "state": "all"}, "policy": "skip", "shape": "auto", "show": False}
    extra = {"detector": "classical", "score_threshold": 0.3}
    posts: list[tuple[str, Any]] = [("/predict", body) for body in predictions]
    posts += [("/webhook", body) for body in webhooks]
    posts += [("/setup", setup_request()), ("/setup", {**setup_request(PALETTE_CONFIG), "extra_params": extra})]
    posts += [("/validate", {"config": config}) for config in (BRUSH_CONFIG, PALETTE_CONFIG, PAGES_CONFIG)]
    posts += [("/api/runs", run), ("/api/runs/preview", {**run, "tasks": 2}), ("/api/runs/mapping", run)]
    posts += [(f"/api/runs/20261126-101112-abcdef/{wish}", {}) for wish in ("pause", "resume", "undo", "retry")]
    gets = [Request("GET", path) for path in ("/health", "/versions", "/api/status", "/api/projects", "/")]
    gets.append(Request("GET", "/api/runs", query="project=1"))
    return (*(Request("POST", path, json.dumps(body).encode()) for path, body in posts), *gets)


NESTED = 400
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 100.0001, 1e308, -1e308, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63)),
    *("", " ", "x", "0", "-1", "NaN", "$image", "\x00", "\r\n", "\x1b[31m", "é" * 30, "\U0001f431", "../../x", "%00"),
    *("x" * 5000, "data:", "data:,", "data:image/png;base64,", "data:image/png;base64,AAAA", "file:///etc/passwd"),
    *("http://127.0.0.1/", "http://[::1", "http://a:b@c/", "s3://bucket/x.png", "//x", "/data/upload/1/x.png", "http:"),
    *([], {}, [[]], [{}], {"": ""}, [None] * 50, {"a": {"b": {"c": []}}}, [0, 1, 2, 3], [-1], [256], ["a"]),
    *("keypointlabels", "rectanglelabels", "brushlabels", "labels", "image", "kp", "START_TRAINING", "TASKS_CREATED"),
    *("not a time", "2026-11-22T11:28:59Z", "<View/>", "<View><Image name='image'/></View>", "&lol;", "]]>"),
)
PIECES: tuple[bytes, ...] = (
    *(b"", b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"\\", b'\\ud800"', b"\\u0000", b"\xff", b"\xc3\x28"),
    *(b"NaN", b"Infinity", b"-", b"1e999", b"9" * 400, b"[" * NESTED, b'{"a":' * NESTED, b"\x00", b"\xef\xbb\xbf"),
)
XML_PIECES: tuple[str, ...] = (
    *("<", ">", "/>", "</", "&", "&amp;", "&#0;", "&#xD800;", '"', "'", "<!--", "-->", "<![CDATA[", "<?xml ?>"),
    *('<!DOCTYPE a [<!ENTITY b "c">]>', "<View>", "</View>", "<View>" * NESTED, "xmlns:a='b'", "a:b", "\x01"),
    *(
        'value="$image"',
        'value=""',
        'toName=""',
        'toName="image,other"',
        'smart="true"',
        "<Label/>",
        '<Label value=""/>',
    ),
    *('valueList="$images"', 'model_score_threshold="x"', 'model_score_threshold="nan"', 'predicted_values="a,b"'),
)
OTHER_HEADERS: tuple[tuple[str, str], ...] = (
    *(("Content-Type", kind) for kind in ("", "text/plain", "application/json; charset=utf-16", "multipart/form-data")),
    *(
        ("Authorization", value)
        for value in ("", "Basic", "Basic \xff\xfe", "Basic OjpA", "Bearer x", "Token \x00", "x")
    ),
    *(("Host", value) for value in ("", "evil.example", "127.0.0.1:99999", "[::1]:9090", "a b", "127.0.0.1:9090:1")),
    *(("Origin", value) for value in ("null", "http://evil.example", "x", "http://[::1")),
    *(("Content-Length", value) for value in ("-1", "x", "", "0", "99999999999999999999", "1")),
    *(("Content-Encoding", value) for value in ("gzip", "br")),
    *(("X-Request-Id", value) for value in ("", "a" * 5000, "\x1b[2J", "é")),
    *(
        ("X-Forwarded-For", "x"),
        ("X-Forwarded-Host", "y"),
        ("Transfer-Encoding", "chunked"),
        ("Sec-Fetch-Site", "cross-site"),
    ),
)


def mutated(seed: int | str, number: int) -> Request:
    """Return request `number` of a seed: the same one each time."""
    chance = random.Random(f"{seed}:{number}")
    request = chance.choice(good_requests())
    for _ in range(1 if chance.random() < 0.6 else chance.randint(2, 5)):
        how = chance.random()
        if request.method == "GET" or how < 0.08:
            request = _other_address(request, chance)
        elif how < 0.14:
            request = replace(request, headers=_with(request.headers, chance.choice(OTHER_HEADERS)))
        elif how < 0.30:
            request = replace(request, body=_other_bytes(request.body, chance))
        else:
            request = replace(request, body=_other_values(request.body, chance, is_xml=how < 0.45))
    return request


def _with(headers: tuple[tuple[str, str], ...], header: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (*(each for each in headers if each[0] != header[0]), header)


def _other_address(request: Request, chance: random.Random) -> Request:
    text = chance.choice(("%", "%00", "%ff", "..", "/", "\x00", "é", "9" * 3900, "-1", "1.5", "a" * 300, "&", "=", "?"))
    if chance.random() < 0.5:
        names = ("project", "tasks", "x", "")
        return replace(request, query=f"{chance.choice(names)}={text}&{request.query}")
    if chance.random() < 0.2:
        return replace(request, method=chance.choice(("PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "GET", "POST", "X")))
    at = chance.randint(1, len(request.path))
    return replace(request, path=request.path[:at] + text + request.path[at:])


def _other_bytes(body: bytes, chance: random.Random) -> bytes:
    begin = chance.randint(0, len(body))
    end = min(len(body), begin + chance.choice((0, 1, 2, 8, 64, len(body))))
    match chance.randrange(5):
        case 0:
            return body[:begin] + body[end:]
        case 1:
            return body[:begin] + chance.choice(PIECES) + body[end:]
        case 2:
            return body[:end] + body[begin:]  # a part twice
        case 3 if begin < len(body):
            return body[:begin] + bytes([body[begin] ^ 1 << chance.randrange(8)]) + body[begin + 1 :]
    return body[:begin] + chance.choice(good_requests()).body[begin:]


def _other_values(body: bytes, chance: random.Random, *, is_xml: bool) -> bytes:
    try:
        tree = json.loads(body)
        places = list(_places(tree))
    except (ValueError, RecursionError):
        return _other_bytes(body, chance)
    configs = [place for place in places if isinstance(value := place[0][place[1]], str) and value.startswith("<")]
    if is_xml and configs:
        container, key = chance.choice(configs)
        container[key] = _other_xml(container[key], chance)
    elif places:
        container, key = chance.choice(places)
        _change(container, key, places, chance)
    else:
        tree = chance.choice(VALUES)
    return json.dumps(tree).encode()


def _places(value: Any) -> Any:
    """Every (container, key) of a JSON value."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        keys = (
            container.keys()
            if isinstance(container, dict)
            else range(len(container))
            if isinstance(container, list)
            else ()
        )
        for key in keys:
            yield container, key
            waiting.append(container[key])


def _change(container: Any, key: Any, places: Any, chance: random.Random) -> None:
    match chance.randrange(8):
        case 0:
            del container[key]
        case 1:
            other, name = chance.choice(places)
            container[key] = json.loads(json.dumps(other[name]))
        case 2:
            container[key] = [container[key]] * chance.choice((1, 2, 50))
        case 3:
            container[key] = {"value": container[key]}
        case 4 if isinstance(container, dict):
            container[f"{key}{chance.choice(('', 's', ' ', chr(0), '_2'))}"] = container.pop(key)
        case 5 if isinstance(container[key], int | float):
            container[key] = container[key] * chance.choice((-1, 0.5, 1000, 1e300, 1e-300))
        case _:
            container[key] = chance.choice(VALUES)


def _other_xml(text: str, chance: random.Random) -> str:
    begin = chance.randint(0, len(text))
    end = min(len(text), begin + chance.choice((0, 1, 5, 40)))
    if chance.random() < 0.2:
        return text[:end] + text[begin:]
    return text[:begin] + chance.choice(("", *XML_PIECES)) + text[end:]
