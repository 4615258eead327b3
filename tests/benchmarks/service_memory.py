"""Memory of the service after 1,000 clicks: MobileSAM and SAM base with seeded weights, SAM_RUNTIME=auto.

`label-studio-sam serve` answers clicks of two clients on images of 12 megapixels from a web server, each with one to
three points. Its first start converts the networks for OpenVINO; the second one, which finds them on disk, is measured.
Memory (MB, 10^6 bytes) after the first click, and after all, when the server has returned its free memory: the resident
memory of the process that answers, libraries included, and what belongs to the other one alone. Also the resident
memory of the process that answers, in all, without files, and the highest.
"""

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.click_latency import HEIGHT, WIDTH, photograph
from benchmarks.start import MODELS, arguments, service, wait_for_conversion, wait_until_ready
from sam_backend.web.malloc import IDLE_S, TRIM_EVERY_S
from sam_testing.backend_program import BackendProgram
from sam_testing.label_studio import BRUSH_CONFIG, Json, key_point, predict_request
from sam_testing.processes import process_tree
from sam_testing.web_server import Answer, serving

CLIENTS = 2


def clicks(url: str, number: int, seed: int, images: int) -> Iterator[Json]:
    """Yield the bodies of clicks: of one object, with a first, a second and a third point."""
    chance = random.Random(seed)
    points: list[Json] = []
    for _ in range(number):
        if len(points) in (0, 3):
            points, image = [], chance.randrange(images)
        size = {"original_width": WIDTH, "original_height": HEIGHT}
        points = [*points, key_point(chance.uniform(5, 95), chance.uniform(5, 95), f"p{len(points)}") | size]
        yield predict_request(points, BRUSH_CONFIG, {"image": f"{url}/{image}.jpg"}, image + 1)


def field_mb(file: str, name: str) -> float:
    """Return a field of a file of /proc."""
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6


def service_mb(root: int) -> float:
    """Return the resident memory of the process that answers, and what belongs to its parent alone."""
    own = sum(field_mb(f"/proc/{root}/smaps_rollup", name) for name in ("Private_Clean", "Private_Dirty"))
    return round(field_mb(f"/proc/{process_tree(root)[-1]}/status", "VmRSS") + own, 1)


def measured(backend: BackendProgram, url: str, number: int, images: int) -> dict[str, Any]:
    """Send the clicks, and return the memory."""
    answers: list[int] = []
    lock = threading.Lock()

    def send(bodies: Iterator[Json]) -> None:
        for body in bodies:
            status = backend.ask("/predict", body)[0]
            with lock:
                answers.append(status)

    root = backend.process.pid
    send(clicks(url, 1, 0, images))
    first = service_mb(root)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for client in range(CLIENTS):
            clients.submit(send, clicks(url, number // CLIENTS, client + 1, images))
    time.sleep(IDLE_S + TRIM_EVERY_S + 1)
    assert set(answers) == {200}, backend.log[-3000:]
    worker = process_tree(root)[-1]
    return {
        "images": images,
        "clicks": len(answers),
        "first_mb": first,
        "after_mb": service_mb(root),
        **{
            key: round(field_mb(f"/proc/{worker}/status", field), 1)
            for key, field in (("worker_mb", "VmRSS"), ("worker_anonymous_mb", "RssAnon"), ("highest_mb", "VmHWM"))
        },
    }


def main() -> None:
    """Measure; print a table and one line of JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--clicks", type=int, default=1000)
    parser.add_argument("--images", type=int, default=30)
    asked = parser.parse_args()
    images = {f"/{number}.jpg": photograph(number) for number in range(asked.images)}
    headers = {"ETag": '"1"', "Content-Type": "image/jpeg"}
    found: dict[str, Any] = {}
    for name in asked.models.split(","):
        with (
            serving(lambda asked: Answer(images[asked.path], headers=headers)) as web,
            service(BackendProgram, name, asked.folder, SAM_ALLOW_PRIVATE_ADDRESSES="true") as (backend, _),
        ):
            wait_until_ready(backend)
            for body in clicks(web.url, 1, 0, asked.images):
                backend.ask("/predict", body)
            wait_for_conversion(backend)
            backend.stop()
            backend.start()
            wait_until_ready(backend)
            found[name] = measured(backend, web.url, asked.clicks, asked.images)
        print(name, found[name], flush=True)
    megapixels = round(WIDTH * HEIGHT / 1e6)
    print(
        json.dumps({"benchmark": "service_memory", "images": asked.images, "megapixels": megapixels, "models": found})
    )


if __name__ == "__main__":
    main()
