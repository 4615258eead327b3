"""Soak test: memory, open files and threads of a real service under mixed work for half an hour.

`label-studio-sam serve` runs as a program of its own, with an image server and a fake Label Studio, all on loopback.
Three clients click, draw rectangles, open tasks, bring new images and labeling configs and send what is wrong; about
once a minute a small bulk run writes predictions. Time and the number of requests are bounded.

Measured: resident memory (MB, 10^6 bytes), open files and threads of the serving processes, and the processes of the
whole tree; a process of a bulk run lives for seconds and counts among the latter only. All clients pause for each
measurement until the server has returned its free memory, and all caches fill within the warm-up: what grows is a leak.
After the warm-up the slope of the memory is estimated with an interval of 95 percent (`sam_testing.trend`). Failed: the
slope is above the bar and its interval above 0; files, threads or processes gained more than a few; a wrong request got
a 5xx answer, or a right one neither 200 nor 503.

    python tests/benchmarks/soak.py --minutes 30         the bar is 1 MB/h
    python tests/benchmarks/soak.py --minutes 2 --warm-up 0.6 --bar 300 --seed 7
"""

import argparse
import io
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from sam_backend.web.malloc import IDLE_S, TRIM_EVERY_S
from sam_testing.backend_program import BackendProgram
from sam_testing.fake_label_studio import CONFIG, TOKEN, Store, fake_label_studio
from sam_testing.label_studio import key_point, predict_request, rectangle, setup_request
from sam_testing.processes import process_tree
from sam_testing.trend import Trend, trend
from sam_testing.web_server import Answer, Asked, WebServer, serving

CLIENTS, PAUSE_S = 3, 0.05  # a client waits so long between two requests
MAX_REQUESTS_PER_S = 60
SAMPLES = 40  # measurements in all, with at least 4 s of work between two
REST_S = IDLE_S + TRIM_EVERY_S + 0.5  # without any request before a measurement: free memory is returned meanwhile
RUN_EVERY_S, RUN_TASKS = 45.0, 4
KNOWN_IMAGES = 12
NEW_IMAGES = 100  # addresses, in turn; the cache holds 6 embeddings, so each is computed again
MORE_FILES = MORE_THREADS = 4  # than after the warm-up: a pool may start its last thread late
WIDTH, HEIGHT = 320, 240


def jpeg(number: int) -> bytes:
    """Return a JPEG file of discs on noise, a different one for each number."""
    made = np.random.default_rng(number)
    image = made.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for _ in range(6):
        centre = int(made.integers(0, WIDTH)), int(made.integers(0, HEIGHT))
        cv2.circle(image, centre, int(made.integers(15, 50)), made.integers(80, 255, 3).tolist(), -1)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def image_server_answer(asked: Asked) -> Answer:
    """Return the answer to /image/N.jpg, or one of the failures that the path names."""
    asked_for = asked.path.strip("/").partition("?")[0]
    kind, _, rest = asked_for.partition("/")
    if kind == "image":
        return Answer(jpeg(int(rest.removesuffix(".jpg"))), headers={"Content-Type": "image/jpeg"})
    if kind == "status":
        return Answer(b"no", int(rest))
    if kind == "half":
        body = jpeg(1)
        return Answer(body[: len(body) // 2], headers={"Content-Length": str(len(body))})
    return Answer(b"this is no image" * 10)


@dataclass(frozen=True)
class Sample:
    """Memory, files and threads of the serving processes at one moment."""

    at_s: float
    memory_mb: float
    files: int
    threads: int
    processes: int  # of the whole tree


def sample(root: int, serving_pids: list[int], at_s: float) -> Sample:
    """Read the sample from /proc."""
    memory = files = threads = 0
    for pid in serving_pids:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        memory += int(status["VmRSS"].split()[0]) * 1024
        threads += int(status["Threads"])
        files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(at_s, memory / 1e6, files, threads, len(process_tree(root)))


@dataclass
class Soak:
    """The mixed work and its results."""

    backend: BackendProgram
    images: WebServer
    label_studio: str
    store: Store
    seed: int
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    requests: int = 0
    under_way: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    new_images: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def send(self, kind: str, expected: Callable[[int], bool], path: str, body: object = None) -> Any:
        """Send one request and record an unexpected answer."""
        self.go_on.wait()
        with self.lock:
            self.under_way += 1
        try:
            status, answer = self.backend.ask(path, body)
        except OSError as error:  # the server did not answer, or closed the connection
            status, answer = 0, repr(error)
        with self.lock:
            self.under_way -= 1
            self.requests += 1
            self.answers[kind, status] += 1
            if not expected(status) and len(self.unexpected) < 10:
                self.unexpected.append(f"{kind}: {status} {str(answer)[:200]}")
        return answer

    def pause(self) -> None:
        """Block new requests and wait, at most a minute, until none is being answered."""
        self.go_on.clear()
        end = time.monotonic() + 60
        while self.under_way and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(REST_S)

    def image(self, chance: random.Random) -> str:
        return f"{self.images.url}/image/{chance.randrange(KNOWN_IMAGES)}.jpg"

    def new_image(self) -> str:
        with self.lock:
            self.new_images = (self.new_images + 1) % NEW_IMAGES
            return f"{self.images.url}/image/{KNOWN_IMAGES + self.new_images}.jpg"

    def click(self, chance: random.Random, url: str, config: str = CONFIG, kind: str = "click") -> None:
        x, y = chance.uniform(5, 95), chance.uniform(5, 95)
        size = {"original_width": WIDTH, "original_height": HEIGHT, "from_name": "mask"}
        point = key_point(x, y, is_positive=True, **size)
        point["value"]["labels"] = ["person"]
        self.send(kind, answered, "/predict", predict_request([point], config, {"image": url}))

    def draw(self, chance: random.Random) -> None:
        size = {"original_width": WIDTH, "original_height": HEIGHT, "from_name": "mask"}
        box = rectangle(chance.uniform(5, 40), chance.uniform(5, 40), 40, 40, **size)
        box["value"]["labels"] = ["person"]
        self.send("rectangle", answered, "/predict", predict_request([box], CONFIG, {"image": self.image(chance)}))

    def open_task(self, chance: random.Random) -> None:
        url = self.new_image() if chance.random() < 0.3 else self.image(chance)
        self.send("open", answered, "/predict", predict_request(None, CONFIG, {"image": url}))

    def change_config(self, chance: random.Random) -> None:
        """Validate, set up and click with a labeling config that was never sent before."""
        config = CONFIG.replace('"face"', f'"face {chance.randrange(10**9)}"')
        self.send("validate", answered, "/validate", {"config": config})
        self.send("setup", answered, "/setup", {**setup_request(config), "hostname": self.label_studio})
        self.click(chance, self.image(chance), config, "click, new config")

    def go_wrong(self, chance: random.Random) -> None:
        """Send one of the requests that cannot be answered with a mask."""
        wrong = ("status/404", "status/429", "status/500", "status/502", "half/1.jpg", "broken/1.jpg")
        which = chance.randrange(10)
        if which < 6:
            url = f"{self.images.url}/{wrong[which]}?{chance.randrange(10**9)}"
            body = predict_request([key_point(50, 50)], data={"image": url})
            self.send("wrong image", refused, "/predict", body)
        elif which == 6:
            self.send("wrong body", refused, "/predict", {"tasks": chance.random()})
        elif which == 7:
            self.send("wrong config", refused, "/validate", {"config": "<View><Image" * chance.randrange(1, 50)})
        elif which == 8:
            self.send("wrong path", refused, f"/nothing/{chance.randrange(10**9)}")
        else:
            many = [key_point(50, 50, f"p{number}") for number in range(2000)]
            body = predict_request(many, data={"image": self.image(chance)})
            self.send("many prompts", lambda status: status < 500 or status == 503, "/predict", body)

    def look(self, chance: random.Random) -> None:
        for path in ("/health", "/ready", "/versions", "/api/status", "/api/runs"):
            self.send("look", answered, path)
        self.send("webhook", lambda status: status < 500, "/webhook", {"action": "ANNOTATION_CREATED"})

    def one_client(self, number: int) -> None:
        """Send mixed requests until `stop` is set."""
        chance = random.Random(f"{self.seed}:{number}")
        kinds = [lambda c: self.click(c, self.image(c)), self.draw, self.open_task, self.change_config, self.go_wrong]
        kinds += [self.look, lambda c: self.click(c, self.new_image(), kind="click, new image")]
        while not self.stop.wait(PAUSE_S):
            chance.choices(kinds, (10, 3, 3, 1, 2, 1, 1))[0](chance)

    def bulk_run(self) -> None:
        """Start a run over a few tasks, wait for its end and undo it."""
        asked = {"project": 1, "detector": "everything", "label_map": {"object": "face"}, "policy": "add"}
        answer = self.send("run", lambda status: status == 202, "/api/runs", asked)
        if not isinstance(answer, dict) or "run" not in answer:
            return
        run = answer["run"]["id"]
        for wish, state in ((None, "finished"), ("undo", "undone")):
            if wish:  # 409: a busy machine has not ended the run yet
                self.send("run", lambda status: status in (202, 409), f"/api/runs/{run}/{wish}", {})
            end = time.monotonic() + 60
            while not self.stop.is_set() and time.monotonic() < end:
                found = self.backend.ask(f"/api/runs/{run}")[1]["run"]["state"]
                if found in (state, "failed"):
                    break
                self.stop.wait(0.5)
            with self.lock:
                self.answers[f"run {found}", 0] += 1

    def runs(self) -> None:
        """Start a run from time to time."""
        while not self.stop.wait(RUN_EVERY_S / 2):
            self.bulk_run()
            self.stop.wait(RUN_EVERY_S / 2)


def answered(status: int) -> bool:
    """Return whether the status fits a valid request: answered, or refused for overload."""
    return status in (200, 201, 503)


def refused(status: int) -> bool:
    """Return whether the status fits an invalid request: a 4xx."""
    return 400 <= status < 500 or status == 503


def work(soak: Soak, minutes: float) -> list[Sample]:
    """Run the clients for `minutes` and take samples meanwhile."""
    root = soak.backend.process.pid
    serving_pids = process_tree(root)
    clients = [threading.Thread(target=soak.one_client, args=(number,), daemon=True) for number in range(CLIENTS)]
    clients.append(threading.Thread(target=soak.runs, daemon=True))
    samples: list[Sample] = []
    every_s = max(60 * minutes / SAMPLES - REST_S, 4.0)
    begin = time.monotonic()
    soak.go_on.set()
    for client in clients:
        client.start()
    while (at_s := time.monotonic() - begin) < 60 * minutes and soak.requests < 60 * minutes * MAX_REQUESTS_PER_S:
        soak.pause()
        samples.append(sample(root, serving_pids, at_s))
        soak.go_on.set()
        soak.images.asked.clear()
        time.sleep(every_s)
    soak.stop.set()
    for client in clients:
        client.join(130)
    time.sleep(REST_S)
    samples.append(sample(root, serving_pids, time.monotonic() - begin))
    return samples


def judged(soak: Soak, samples: list[Sample], warm_up_s: float, bar: float) -> tuple[list[str], Trend]:
    """Return the problems, and the slope of the memory in MB/h."""
    kept = [each for each in samples if each.at_s >= warm_up_s]
    found = trend([each.at_s / 3600 for each in kept], [each.memory_mb for each in kept])
    problems = list(soak.unexpected)
    if found.verdict(bar) == "grows":
        problems.append(f"memory grows by {found.slope:.2f} MB/h ({found.low:.2f} to {found.high:.2f}); bar: {bar:g}")
    third = len(kept) // 3
    for name, more in (("files", MORE_FILES), ("threads", MORE_THREADS), ("processes", 1)):
        values = [getattr(each, name) for each in kept]
        before, after = min(values[:third]), min(values[-third:])
        if after > before + more:
            problems.append(f"{name} grow: {before} after the warm-up, {after} at the end")
    return problems, found


def main() -> None:
    """Run the work, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--warm-up", type=float, help="minutes; a third of all, at most 8")
    parser.add_argument("--bar", type=float, default=1.0, help="MB/h")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--model", default="classical", help="SAM_MODEL; a checkpoint's path, for example")
    asked = parser.parse_args()
    warm_up = min(8.0, asked.minutes / 3) if asked.warm_up is None else asked.warm_up
    store = Store(keeps_regions=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(image_server_answer) as images,
        fake_label_studio(store) as url,
    ):
        for number in range(RUN_TASKS):
            store.add_tasks(1, f"{images.url}/image/{number}.jpg")
        settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": TOKEN, "SAM_MODEL": asked.model}
        settings |= {"SAM_RUNS_DIR": f"{folder}/runs", "SAM_EMBEDDINGS_DIR": f"{folder}/embeddings"}
        # caches that are full before the warm-up is over
        settings |= {"SAM_EMBEDDING_CACHE_MIB": "16", "SAM_EMBEDDINGS_MIB": "64", "SAM_ALLOW_PRIVATE_ADDRESSES": "1"}
        backend = BackendProgram(Path(folder) / "log", **settings)
        try:
            backend.wait_until(lambda: backend.ask("/ready")[0] == 200)
            soak = Soak(backend, images, url, store, asked.seed)
            samples = work(soak, asked.minutes)
            problems, slope = judged(soak, samples, 60 * warm_up, asked.bar)
            if "Traceback" in backend.log:
                at = backend.log.index("Traceback")
                problems.append(f"a traceback in the log: {backend.log[at : at + 2000]}")
        finally:
            backend.stop()
    report(soak, samples, warm_up, slope, asked.bar, problems)
    sys.exit(1 if problems else 0)


def report(soak: Soak, samples: list[Sample], warm_up: float, slope: Trend, bar: float, problems: list[str]) -> None:
    """Print a table and one line of JSON."""
    print(f"seed {soak.seed}, {soak.requests} requests in {samples[-1].at_s / 60:.1f} minutes, warm-up {warm_up:.1f}")
    print(f"{'minute':>7}{'MB':>8}{'files':>7}{'threads':>9}{'processes':>11}")
    for each in samples[:: max(1, len(samples) // 15)] + samples[-1:]:
        print(f"{each.at_s / 60:>7.1f}{each.memory_mb:>8.1f}{each.files:>7}{each.threads:>9}{each.processes:>11}")
    print(f"\n{'request':<24}{'status':>7}{'times':>8}")
    for (kind, status), times in sorted(soak.answers.items()):
        print(f"{kind:<24}{status or '':>7}{times:>8}")
    verdict = slope.verdict(bar)
    print(
        f"\nmemory: {slope.slope:+.2f} MB/h, 95 percent: {slope.low:+.2f} to {slope.high:+.2f} (bar {bar:g}): {verdict}"
    )
    for problem in problems:
        print(f"FAILED: {problem}")
    found: dict[str, Any] = {"benchmark": "soak", "minutes": round(samples[-1].at_s / 60, 2), "warm_up": warm_up}
    found |= {"seed": soak.seed, "requests": soak.requests, "bar_mb_per_h": bar, "verdict": verdict}
    found |= {"mb_per_h": round(slope.slope, 3), "interval": [round(slope.low, 3), round(slope.high, 3)]}
    last = samples[-1]
    found |= {"mb": round(last.memory_mb, 1), "files": last.files, "threads": last.threads, "problems": problems}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
