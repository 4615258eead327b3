"""Interactive clicks while a bulk run works: p95 beside the idle p95, in one run, alternating.

A real service (gunicorn, classical models, embedding in the cache) answers clicks on one 640 x 480 image; beside it a
run over images of the same size is resumed and paused in turns, so that both meet the same machine. The bar of
the project: p95 during the run < 1.5 x the idle p95. Warm-up: 20 clicks. Label Studio is the fake one of the tests.
"""

import base64
import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from sam_testing.backend_program import BackendProgram
from sam_testing.fake_label_studio import CONFIG, TOKEN, Store, fake_label_studio
from sam_testing.label_studio import key_point, predict_request

ROUNDS, CLICKS, WIDTH, HEIGHT = 5, 40, 640, 480
BAR = 1.5


def image_url(seed: int) -> str:
    """Return an image of coloured blots on noise."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for _ in range(12):
        centre = int(random.integers(0, WIDTH)), int(random.integers(0, HEIGHT))
        cv2.circle(image, centre, int(random.integers(20, 80)), random.integers(80, 255, 3).tolist(), -1)
    return "data:image/jpeg;base64," + base64.b64encode(cv2.imencode(".jpg", image)[1].tobytes()).decode()


def click(backend: BackendProgram, data: dict[str, str], number: int) -> float:
    """Send one click at a random position; return the milliseconds until its answer."""
    point = key_point(10 + number * 7 % 80, 10 + number * 13 % 80, original_width=WIDTH, original_height=HEIGHT)
    point = point | {"from_name": "mask", "value": point["value"] | {"labels": ["person"]}}
    began = time.perf_counter()
    status, _ = backend.ask("/predict", predict_request([point], CONFIG, data))
    assert status == 200
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Measure idle and busy in turn; print both."""
    store = Store()
    for seed in range(40):
        store.add_tasks(10, image_url(seed))
    data = {"image": image_url(1000)}
    times: dict[str, list[float]] = {"idle": [], "run": []}
    with fake_label_studio(store) as url, tempfile.TemporaryDirectory() as folder:
        settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": TOKEN, "SAM_RUNS_DIR": f"{folder}/runs"}
        backend = BackendProgram(Path(folder) / "log", **settings)
        try:
            for number in range(20):
                click(backend, data, number)
            asked = {"project": 1, "detector": "everything", "label_map": {"object": "face"}}
            run = backend.ask("/api/runs", asked)[1]["run"]["id"]
            for _ in range(ROUNDS):
                backend.wait_for(run, "running")
                done = backend.ask(f"/api/runs/{run}")[1]["run"]["counts"]["written"]
                backend.wait_until(lambda done=done: len(store.predictions) > done)  # it works, not only loads
                times["run"] += [click(backend, data, number) for number in range(CLICKS)]
                backend.ask(f"/api/runs/{run}/pause", {})
                backend.wait_for(run, "paused")
                time.sleep(0.5)
                times["idle"] += [click(backend, data, number) for number in range(CLICKS)]
                backend.ask(f"/api/runs/{run}/resume", {})
            backend.ask(f"/api/runs/{run}/cancel", {})
        finally:
            backend.stop()
    found = {name: (statistics.median(each), float(np.percentile(each, 95))) for name, each in times.items()}
    print(f"{'':<6}{'median ms':>10}{'p95 ms':>10}")
    for name, (median, p95) in found.items():
        print(f"{name:<6}{median:>10.1f}{p95:>10.1f}")
    ratio = found["run"][1] / found["idle"][1]
    print(f"p95 during the run is {ratio:.2f} x the idle p95 (bar: < {BAR})")
    print(json.dumps({"benchmark": "clicks_during_run", "ms": found, "ratio": round(ratio, 3), "is_met": ratio < BAR}))


if __name__ == "__main__":
    main()
