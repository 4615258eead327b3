"""Latency of /health under slow clients and many clicks, and the web server's share of the time of a click.

Label Studio waits one second for /health. Each load runs against this checkout and, with `--before FOLDER`, against
another one, one after the other in the same run: only the ratios mean something on a busy machine. The latency part
alternates between the two in rounds. `python tests/benchmarks/overload.py --before ../other-checkout`
"""

import argparse
import base64
import http.client
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image

from sam_backend.demo.child_process import free_port
from sam_testing.clickers import Clickers
from sam_testing.label_studio import key_point, predict_request
from sam_testing.slow_clients import BODY_BEGUN, HEADERS_BEGUN, silent_image_server, slow_clients

HERE = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 640, 480
LOAD_S = 10.0
ROUNDS = 8
LONGEST_S = 5.0  # a /health without an answer by then counts as so long


@contextmanager
def backend(checkout: Path) -> Iterator[int]:
    """Run `serve` of a checkout; yield its port."""
    port = free_port(0)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAM_", "LABEL_STUDIO_"))}
    with tempfile.TemporaryDirectory() as folder:
        changes = {
            "PYTHONPATH": f"{checkout}/backend:{checkout}/model",
            "SAM_MODEL": "classical",
            "SAM_OFFLINE": "1",
            "SAM_ALLOW_PRIVATE_ADDRESSES": "1",
            "SAM_RUNS_DIR": folder,
            "SAM_LOG_LEVEL": "ERROR",
        }
        command = [sys.executable, "-m", "sam_backend.commands.main", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env={**kept, **changes}, cwd=folder)
        try:
            while health_ms(port) >= 1e3 * LONGEST_S:
                time.sleep(0.1)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def health_ms(port: int) -> float:
    """Send GET /health on a new connection, as Label Studio does."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_S)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return 1e3 * LONGEST_S
    finally:
        connection.close()
    return 1e3 * (time.perf_counter() - began)


def health_during(port: int, load: AbstractContextManager[object]) -> list[float]:
    """Send GET /health for `LOAD_S` seconds under a load."""
    times = []
    with load:
        end = time.monotonic() + LOAD_S
        while time.monotonic() < end:
            times.append(health_ms(port))
            time.sleep(0.02)
    return times


def image_url(seed: int) -> str:
    """Return an image with a few large shapes, as a data URL."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def click_on(url: str, number: int = 0) -> dict[str, object]:
    """Return the body of a click."""
    point = key_point(10 + number * 7 % 80, 10 + number * 13 % 80, original_width=WIDTH, original_height=HEIGHT)
    return predict_request([point], data={"image": url})


@contextmanager
def slow_images(port: int, count: int) -> Iterator[None]:
    """Send clicks on images of a server that never answers."""
    with silent_image_server() as url:

        def ask(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                body = json.dumps(click_on(f"{url}/{number}.png"))
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                return
            finally:
                connection.close()

        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(count)]
        for thread in threads:
            thread.start()
        yield


def request_ms(port: int, body: bytes | None, count: int) -> list[float]:
    """POST a body to /predict `count` times on one connection, as Label Studio's session does; None: GET /health."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times = []
    for _ in range(count):
        began = time.perf_counter()
        method, path = ("GET", "/health") if body is None else ("POST", "/predict")
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        times.append(1e3 * (time.perf_counter() - began))
        assert answer.status == 200
    connection.close()
    return times


def percentiles(times: list[float]) -> tuple[float, float]:
    """Return the 50th and the 99th percentile."""
    return round(statistics.median(times), 1), round(float(np.percentile(times, 99)), 1)


def measure_loads(name: str, checkout: Path) -> dict[str, object]:
    """Measure one checkout under every load."""
    found: dict[str, object] = {}
    loads: dict[str, Callable[[int], AbstractContextManager[object]]] = {
        "nothing": lambda port: nullcontext(),
        "200 idle": lambda port: slow_clients(port, 200),
        "200 dripping headers": lambda port: slow_clients(port, 200, HEADERS_BEGUN),
        "200 dripping bodies": lambda port: slow_clients(port, 200, BODY_BEGUN),
        "16 slow images": lambda port: slow_images(port, 16),
        "60 slow images": lambda port: slow_images(port, 60),
    }
    for load, start in loads.items():
        with backend(checkout) as port:
            found[load] = percentiles(health_during(port, start(port)))
            print(f"{name:<8}{load:<24}/health p50 {found[load][0]:>8} ms   p99 {found[load][1]:>8} ms", flush=True)
    with backend(checkout) as port:
        click = click_on(image_url(1))
        request_ms(port, json.dumps(click).encode(), 3)
        people = Clickers(port, click, 160, LOAD_S)
        health = percentiles(health_during(port, nullcontext()))
        answers = people.answers()
    counts = {status: sum(each == status for each, _ in answers) for status in sorted({each for each, _ in answers})}
    masks = [1e3 * seconds for status, seconds in answers if status == 200]
    refusals = [1e3 * seconds for status, seconds in answers if status == 503]
    found["160 clickers"] = {
        "health": health,
        "answers": counts,
        "mask_ms": percentiles(masks),
        "refusal_ms": percentiles(refusals) if refusals else None,
    }
    print(f"{name:<8}160 clickers: {found['160 clickers']}", flush=True)
    return found


def measure_clicks(checkouts: dict[str, Path]) -> dict[str, dict[str, tuple[float, float]]]:
    """Measure the checkouts in turn: clicks, and the web server's own time for small and large requests.

    A task that is opened needs no mask, so its time is that of reading and parsing the body.
    """
    click = click_on(image_url(2))
    opened = predict_request(data={"image": image_url(2)})
    large = json.loads(json.dumps(opened))
    large["tasks"][0]["annotations"] = [{"result": [{"type": "brushlabels", "value": {"rle": [200] * 1_920_000}}]}]
    bodies: dict[str, tuple[bytes | None, int]] = {
        "/health": (None, 200),
        "open": (json.dumps(opened).encode(), 100),
        "open, 9.6 MB": (json.dumps(large).encode(), 10),
        "click": (json.dumps(click).encode(), 10),
    }
    times: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in checkouts} for kind in bodies}
    with contextmanager(_all_backends)(checkouts) as ports:
        for number in range(ROUNDS + 1):
            for kind, (body, count) in bodies.items():
                for name, port in ports.items():
                    found = request_ms(port, body, count)
                    times[kind][name] += found if number else []  # the first round warms up
    result = {kind: {name: percentiles(each) for name, each in of_kind.items()} for kind, of_kind in times.items()}
    for kind, of_kind in result.items():
        for name, (median, p99) in of_kind.items():
            print(f"{kind:<16}{name:<8}p50 {median:>8} ms   p99 {p99:>8} ms", flush=True)
    return result


def _all_backends(checkouts: dict[str, Path]) -> Iterator[dict[str, int]]:
    if not checkouts:
        yield {}
        return
    (name, checkout), *rest = checkouts.items()
    with backend(checkout) as port, contextmanager(_all_backends)(dict(rest)) as others:
        yield {name: port, **others}


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--only", choices=["loads", "clicks"], help="one of the two parts")
    args = parser.parse_args()
    checkouts = {**({"before": args.before.resolve()} if args.before else {}), "now": HERE}
    result: dict[str, object] = {"benchmark": "overload"}
    if args.only != "loads":
        result["clicks"] = measure_clicks(checkouts)
    if args.only != "clicks":
        result["loads"] = {name: measure_loads(name, checkout) for name, checkout in checkouts.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
