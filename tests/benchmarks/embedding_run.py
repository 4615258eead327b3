"""A run that embeds 10,000 images through a folder that is too small for them: size of the folder, memory, speed.

The model is a stand-in that takes no time, with embeddings of SAM's size (4 MiB); everything else is real: listing,
fetching, decoding, ledger, folder. Label Studio is the fake one of the tests, in this process. Another process adds up
the sizes of all files of the folder, unfinished ones included, without a pause. Memory is the resident size of this
process at the end of each tenth of the run.
"""

import argparse
import base64
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from sam_backend.embeddings.disk import EmbeddingFolder
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs import image_builder
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.segmenter.choice import ModelChoice
from sam_backend.settings import MIB, Settings
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.types import Image
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio

WATCHER = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a program in the background ignores
folder, largest = sys.argv[1], 0
try:
    while True:
        total = 0
        for entry in os.scandir(folder) if os.path.isdir(folder) else ():
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                pass
        largest = max(largest, total)
        time.sleep(0.002)
except KeyboardInterrupt:
    print(largest)
"""


class InstantSam(SamSegmenter):
    """Embeds every image as the same features, at once."""

    def __init__(self, channels: int) -> None:
        self.fingerprint = "instant"
        self._features = torch.zeros((1, channels, 64, 64))

    def embed(self, image: Image) -> SamEmbedding:
        """Return the same features for each image."""
        return SamEmbedding(self._features, (image.shape[0], image.shape[1]), (1024, 1024), self.fingerprint)


def numbered_image(number: int) -> str:
    """Return a small image that differs for each number, as a data URL."""
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[0, :4, 0] = [number >> shift & 255 for shift in (0, 8, 16, 24)]
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()


def resident_mib() -> float:
    """Return the memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


class EmbeddingRun:
    """Runs over images that were not embedded before."""

    def __init__(self, folder: str, limit_bytes: int, channels: int = 256) -> None:
        """Store embeddings of `channels` x 64 x 64 floats in a folder of at most `limit_bytes`."""
        self._folder, self._seen = Path(folder), 0
        self._embeddings = self._folder / "embeddings"
        self.largest_bytes = 0
        self.memory_mib: list[float] = []
        limited = EmbeddingFolder(self._embeddings, limit_bytes)
        choice = ModelChoice("instant", "instant-1", lambda _: InstantSam(channels))
        image_builder.segmenter_choice = lambda *_: choice
        image_builder.embedding_folder = lambda _: limited

    def work(self, images: int) -> float:
        """Embed so many new images; return images per second."""
        store = Store()
        store.tasks = {number: {"image": numbered_image(self._seen + number)} for number in range(1, images + 1)}
        self._seen += images
        is_over = threading.Event()
        watcher = subprocess.Popen([sys.executable, "-c", WATCHER, str(self._embeddings)], stdout=subprocess.PIPE)
        with fake_label_studio(store) as url:
            run = RunStore(self._folder / "runs").create(RunConfiguration(1, purpose="embeddings", policy="add"))
            began, tenth = time.perf_counter(), max(1, images // 10)

            def note(is_over: threading.Event = is_over) -> None:
                while not is_over.wait(0.5):
                    if run.progress().counts.done >= tenth * (len(self.memory_mib) + 1):
                        self.memory_mib.append(round(resident_mib(), 1))

            noting = threading.Thread(target=note, daemon=True)
            noting.start()
            progress = work_on(
                run,
                settings=Settings(embeddings_dir=self._embeddings),
                access=LabelStudioCredentials(url, TOKEN),
                store=store_from_env({"SAM_OFFLINE": "1"}),
            )
            took_s = time.perf_counter() - began
        is_over.set()
        watcher.send_signal(signal.SIGINT)
        self.largest_bytes = max(self.largest_bytes, int(watcher.communicate()[0]))
        noting.join()
        assert progress.counts.written == images, progress
        return images / took_s


def main() -> None:
    """Measure one run; print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--mib", type=int, default=1024, help="limit of the folder")
    parser.add_argument("--channels", type=int, default=256, help="of an embedding: 256 as SAM's are 4 MiB")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = EmbeddingRun(folder, args.mib * MIB, args.channels)
        per_second = run.work(args.images)
    largest = run.largest_bytes / MIB
    print(f"{args.images} images, folder of {args.mib} MiB: at most {largest:.1f} MiB, {per_second:.0f} images/s")
    print(f"memory in MiB at each tenth of the run: {run.memory_mib}")
    result = {
        "benchmark": "embedding_run",
        "images": args.images,
        "limit_mib": args.mib,
        "embedding_mib": args.channels / 64,
        "largest_mib": round(largest, 1),
        "images_per_s": round(per_second, 1),
        "memory_mib": run.memory_mib,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
