"""Latency of a click over HTTP: with many regions in its task, in a prefetched task, and outside the model.

A real service (gunicorn) with MobileSAM (seeded weights, all of its work) answers clicks on images of 12 megapixels
that a web server of this process sends; Label Studio is the fake one of the tests. Clicks of the kinds that are
compared alternate, so that all meet the same machine; the shortest times say what a machine without other work takes.
"Outside the model" is the time of the caller without the stages that GET /api/clicks names (segment, encode):
connection, reading, parsing, queue, JSON of the answer.
"""

import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.request_parsing import body_of_click
from sam_model.sam.sizes import MOBILE_SAM
from sam_testing.backend_program import BackendProgram
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.label_studio import BRUSH_CONFIG, Json, key_point, predict_request
from sam_testing.seeded_checkpoints import seeded_state
from sam_testing.web_server import Answer, serving

ROUNDS, WIDTH, HEIGHT, REGIONS, TASKS = 60, 4000, 3000, 300, 8
MODEL_STAGES = ("fetch", "decode", "embed", "segment", "encode")


def photograph(seed: int) -> bytes:
    """Return a JPEG of coloured discs."""
    random = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), random.integers(0, 60, 3), np.uint8)
    for _ in range(60):
        centre = int(random.integers(0, WIDTH)), int(random.integers(0, HEIGHT))
        cv2.circle(image, centre, int(random.integers(50, 400)), random.integers(80, 255, 3).tolist(), -1)
    return cv2.imencode(".jpg", image)[1].tobytes()


class Clicker:
    """Sends clicks on the images of a web server to a backend."""

    def __init__(self, backend: BackendProgram, images: str) -> None:
        self.backend, self.images = backend, images
        self._annotations: list[Json] = json.loads(body_of_click(REGIONS))["tasks"][0]["annotations"]

    def body(self, task: int, number: int | None, *, with_regions: bool = False) -> bytes:
        """Return the body of click `number` on a task; of the opened task if it is None."""
        point = key_point(10 + (number or 0) * 7 % 80, 10 + (number or 0) * 13 % 80)
        point |= {"original_width": WIDTH, "original_height": HEIGHT}
        context = None if number is None else [point]
        body = predict_request(context, BRUSH_CONFIG, {"image": f"{self.images}/{task}.jpg"}, task)
        if with_regions:
            body["tasks"][0]["annotations"] = self._annotations
        return json.dumps(body, separators=(",", ":")).encode()

    def send(self, body: bytes) -> float:
        """Return the milliseconds until the answer is read."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.backend.port}/predict", body, {"Content-Type": "application/json"}
        )
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()
            assert answer.status == 200
        return 1e3 * (time.perf_counter() - began)

    def last_stages(self) -> dict[str, float]:
        """Return the milliseconds of the stages of the last click."""
        found: dict[str, float] = self.backend.ask("/api/clicks")[1]["clicks"][0]["milliseconds"]
        return found


def many_regions(clicker: Clicker) -> dict[str, float]:
    """Compare clicks on a task without and with many regions; the body is made before the clock starts."""
    bodies = {name: clicker.body(1, 1, with_regions=name == "many") for name in ("none", "many")}
    times: dict[str, list[float]] = {"none": [], "many": []}
    outside: list[float] = []
    parse: list[float] = []
    for turn in range(ROUNDS + 2):
        for name, body in bodies.items():
            took = clicker.send(body)
            if turn < 2:
                continue
            times[name].append(took)
            stages = clicker.last_stages()
            if name == "none":
                outside.append(took - sum(stages.get(stage, 0.0) for stage in MODEL_STAGES))
            else:
                parse.append(stages["parse"])
    none, many = (statistics.median(each) for each in times.values())
    least_none, least_many = (min(each) for each in times.values())
    return {
        "none_ms": round(none, 1),
        "many_ms": round(many, 1),
        "ratio": round(many / none, 3),
        "least_none_ms": round(least_none, 1),
        "least_many_ms": round(least_many, 1),
        "least_ratio": round(least_many / least_none, 3),
        "parse_ms": round(statistics.median(parse), 1),
        "outside_model_ms": round(statistics.median(outside), 1),
        "least_outside_model_ms": round(min(outside), 1),
        "megabytes": round(len(bodies["many"]) / 1e6, 1),
    }


def prefetched(clicker: Clicker) -> dict[str, float]:
    """Open task after task, 5 s after the last click: is it embedded 3 s later, and is its first click then warm?

    The first click follows a pause of 3 s, so a warm one after the same pause is measured, too.
    """
    first: list[float] = []
    warm: list[float] = []
    rested: list[float] = []
    embedded = 0
    clicker.send(clicker.body(2, None))
    for task in range(3, TASKS + 1):
        time.sleep(5)
        clicker.send(clicker.body(task, None))
        time.sleep(3)
        took = clicker.send(clicker.body(task, 1))
        if clicker.last_stages().get("embed", 0.0) > 1:  # computed now, or in the background until now
            continue
        embedded += 1
        first.append(took)
        warm += [clicker.send(clicker.body(task, 1)) for _ in range(5)]
        time.sleep(3)
        rested.append(clicker.send(clicker.body(task, 1)))
    return {
        "first_ms": round(statistics.median(first), 1),
        "warm_ms": round(statistics.median(warm), 1),
        "rested_ms": round(statistics.median(rested), 1),
        "ratio": round(statistics.median(first) / statistics.median(warm), 3),
        "rested_ratio": round(statistics.median(first) / statistics.median(rested), 3),
        "least_first_ms": round(min(first), 1),
        "least_warm_ms": round(min(warm), 1),
        "least_rested_ms": round(min(rested), 1),
        "least_ratio": round(min(first) / min(warm), 3),
        "embedded": embedded,
        "tasks": TASKS - 2,
    }


def main() -> None:
    """Measure all; print a table and one line of JSON."""
    images = {f"/{number}.jpg": photograph(number) for number in range(1, TASKS + 4)}
    headers = {"ETag": '"1"', "Content-Type": "image/jpeg"}
    store = Store()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(lambda asked: Answer(images[asked.path], headers=headers)) as web,
        fake_label_studio(store) as url,
    ):
        store.tasks = {number: {"image": f"{web.url}/{number}.jpg"} for number in range(1, TASKS + 4)}
        checkpoint = Path(folder) / "mobile_sam.pt"
        torch.save(seeded_state(MOBILE_SAM), checkpoint)
        settings = {
            "LABEL_STUDIO_URL": url,
            "LABEL_STUDIO_API_KEY": TOKEN,
            "SAM_RUNS_DIR": f"{folder}/runs",
            "SAM_MODEL": str(checkpoint),
            "SAM_ALLOW_PRIVATE_ADDRESSES": "true",
            "SAM_ZOOM": "false",  # the scores of seeded weights would ask for a crop at random
        }
        backend = BackendProgram(Path(folder) / "log", **settings)
        try:
            clicker = Clicker(backend, web.url)
            backend.wait_until(lambda: backend.ask("/health")[1]["state"] == "ready")
            clicker.send(clicker.body(1, 1))
            time.sleep(5)  # the tasks after the first one are embedded
            regions, ahead = many_regions(clicker), prefetched(clicker)
        finally:
            backend.stop()
    print(f"{REGIONS} regions, {regions['megabytes']} MB: {regions}")
    print(f"prefetched tasks: {ahead}")
    print(json.dumps({"benchmark": "click_latency", "regions": regions, "prefetched": ahead}))


if __name__ == "__main__":
    main()
