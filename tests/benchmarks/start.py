"""Time from the start of the process to the first answer of /health, and to the mask of a click that is sent then.

`label-studio-sam serve` starts with seeded weights and SAM_RUNTIME=auto. Its first start converts the networks for
OpenVINO and is not measured; the measured ones find weights and converted networks on disk (but no embedding, so that
the click embeds an image of 1280 x 720). While the model is loading, /health is asked all the time: Label Studio
waits a second for it.
"""

import argparse
import base64
import json
import statistics
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from sam_model.sam.sizes import MOBILE_SAM, SAM_B
from sam_testing.backend_program import BackendProgram
from sam_testing.label_studio import BRUSH_CONFIG, key_point, predict_request
from sam_testing.seeded_checkpoints import write_seeded_checkpoint

MODELS = {"mobile_sam": MOBILE_SAM, "sam_b": SAM_B}
WIDTH, HEIGHT = 1280, 720

Program = TypeVar("Program", bound=BackendProgram)


def click() -> bytes:
    """Return the body of a click on an image of coloured discs."""
    random = np.random.default_rng(1)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for _ in range(30):
        centre = int(random.integers(0, WIDTH)), int(random.integers(0, HEIGHT))
        cv2.circle(image, centre, int(random.integers(20, 150)), random.integers(0, 255, 3).tolist(), -1)
    file = cv2.imencode(".jpg", image)[1].tobytes()
    point = key_point(40, 60, original_width=WIDTH, original_height=HEIGHT)
    data = {"image": "data:image/jpeg;base64," + base64.b64encode(file).decode()}
    return json.dumps(predict_request([point], BRUSH_CONFIG, data)).encode()


class MeasuredStart(BackendProgram):
    """A `serve` process whose first answers are timed."""

    def start(self) -> None:
        """Start the process, and return when the click is answered with a mask."""
        self.body = click()
        self.times: dict[str, float] = {}
        self.slowest_health_s = 0.0
        self.is_answered = threading.Event()
        self.began = time.perf_counter()
        asking = threading.Thread(target=self._ask_health)
        asking.start()
        try:
            super().start()
        except BaseException:
            self.is_answered.set()
            raise
        self.wait_until(lambda: "click" in self.times, 300)
        asking.join()

    def _ask_health(self) -> None:
        clicking = threading.Thread(target=self._click)
        while not self.is_answered.is_set():
            asked = time.perf_counter()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=30) as answer:
                    answer.read()
            except OSError:
                time.sleep(0.005)
                continue
            if "health" not in self.times:
                self.times["health"] = time.perf_counter() - self.began
                clicking.start()
            self.slowest_health_s = max(self.slowest_health_s, time.perf_counter() - asked)
            time.sleep(0.01)
        clicking.join()

    def _click(self) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/predict", self.body, {"Content-Type": "application/json"}
        )
        while not self.is_answered.is_set():  # again if the model took longer than SAM_MODEL_WAIT_S
            with suppress(OSError), urllib.request.urlopen(request, timeout=120) as answer:
                assert json.load(answer)["results"][0]["result"]
                self.times["click"] = time.perf_counter() - self.began
                self.is_answered.set()


def wait_for_conversion(backend: BackendProgram) -> None:
    """Wait until OpenVINO runs all networks."""
    runs = [f"-{part} in " for part in ("encoder", "prepare", "attend", "masks")]
    backend.wait_until(lambda: all(part in backend.log for part in runs), 600)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return the options that benchmarks of `service` share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="", help="keeps weights and converted networks for the next run")
    return parser


@contextmanager
def service(kind: type[Program], model: str, kept: str, **settings: str) -> Iterator[tuple[Program, Path]]:
    """Start the service with a model of seeded weights; yield it with their file, and stop it.

    Args:
        kind: of the program.
        model: one of `MODELS`.
        kept: folder of weights and converted networks; empty for a temporary one.
        settings: further settings.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as temporary:
        weights = Path(kept or temporary)
        weights.mkdir(parents=True, exist_ok=True)
        path = weights / f"{model}.pt"
        if not path.exists():
            write_seeded_checkpoint(path, MODELS[model])
        backend = kind(
            Path(folder) / "log",
            SAM_MODEL=str(path),
            SAM_WEIGHTS_DIR=str(weights),
            SAM_RUNS_DIR=f"{folder}/runs",
            SAM_RUNTIME="auto",
            SAM_ZOOM="false",  # the scores of seeded weights would ask for crops at random
            SAM_LOG_LEVEL="INFO",
            **settings,
        )
        try:
            yield backend, path
        finally:
            backend.stop()


def wait_until_ready(backend: BackendProgram) -> None:
    """Wait until the model is loaded."""
    backend.wait_until(lambda: bool(backend.ask("/health")[1]["state"] == "ready"), 300)


def main() -> None:
    """Measure; print a table and one line of JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for name in asked.models.split(","):
        with service(MeasuredStart, name, asked.folder) as (backend, _):
            wait_for_conversion(backend)
            times = []
            for _ in range(asked.rounds):
                backend.stop()
                backend.start()
                times.append({**backend.times, "slowest_health": backend.slowest_health_s})
        found[name] = {
            f"{key}_s": [round(f([one[key] for one in times]), 2) for f in (statistics.median, min, max)]
            for key in times[0]
        }
        print(name, found[name], flush=True)
    print(json.dumps({"benchmark": "start", "rounds": asked.rounds, "models": found}))


if __name__ == "__main__":
    main()
