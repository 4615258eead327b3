"""Speed of every segmenter of the catalogue beside MobileSAM, by runtime.

Measured for each runtime (PyTorch in float32, OpenVINO in the precision it is fastest with): one embedding, and one
point on an embedded image. Weights are seeded: random weights take as long as trained ones. The networks run in one
thread, and the processor's time counts, which the other work of the machine changes least. MobileSAM's embedding and
the model's alternate, and the ratio of their minima is recorded. A pair that takes more than 20 seconds is timed once.
Each model and runtime has a process of its own, which also tells its peak memory.

`SAM_MODEL=auto` reads the ratios from model/sam_model/benchmark/model_speeds.json, and docs/models.md has a column of
them. Models that are measured already are left out, so the script can be run model by model.

    python tests/benchmarks/model_speeds.py [--models A,B] [--runtimes torch,openvino] [--again]

With `--convert`, the networks are converted for OpenVINO into `--folder` and nothing is measured.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from sam_model.benchmark.compared_model import _seeded_sam, _seeded_yolo
from sam_model.benchmark.model_speed import machine_info, synthetic_image
from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam_checkpoints import SIZES
from sam_model.types import Image, Point, Prompt
from sam_model.weights.catalog import CATALOG
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_model.yolo.sizes import SIZES as YOLO_SIZES

RECORDED = Path(__file__).parents[2] / "model/sam_model/benchmark/model_speeds.json"
REFERENCE = "mobile_sam"
CONVERSION_TIMEOUT_S = 3600
MEASURE_S = 12.0  # per model, at least `MIN_ROUNDS` rounds
MIN_ROUNDS = 3
LONG_ROUND_S = 20.0  # a round that takes longer is the only one


def segmenter(name: str, runtime: str, folder: Path) -> SamSegmenter | FastSamSegmenter:
    """Return a model with random weights; its conversion starts where the runtime is OpenVINO."""
    dtype = "auto" if runtime == "openvino" else "float32"
    size = next((size for size in YOLO_SIZES if name == f"fastsam_{size.letter}"), None)
    if size is not None:
        yolo = _seeded_yolo(name, size, 1, has_masks=True)
        return FastSamSegmenter(yolo, "cpu", dtype, runtime=runtime, converted_dir=folder)
    return SamSegmenter(_seeded_sam(SIZES[name]), name, "cpu", dtype, runtime=runtime, converted_dir=folder)


def wait_for_conversion(model: SamSegmenter | FastSamSegmenter, runtime: str) -> bool:
    """Wait until the networks that OpenVINO runs are converted; return whether they are."""
    converted: Any = model._converted if isinstance(model, SamSegmenter) else model.detector._run
    return runtime == "torch" or bool(converted.wait(CONVERSION_TIMEOUT_S))


def converted(
    name: str, runtime: str, folder: Path, image: Image, prompt: Prompt
) -> tuple[SamSegmenter | FastSamSegmenter, bool]:
    """Return a model after its first prompt, and whether the runtime runs all of it."""
    model = segmenter(name, runtime, folder)
    wait_for_conversion(model, runtime)  # of the image encoder, so that PyTorch need not run it
    model.segment(model.embed(image), [prompt])  # starts the conversion of the decoder
    return model, wait_for_conversion(model, runtime)


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's time of all threads."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(name: str, runtime: str, folder: Path) -> dict[str, Any]:
    """Return the times of a model in a runtime, and the ratio of its embedding to MobileSAM's."""
    image = synthetic_image()
    prompt = Prompt(points=(Point(image.shape[1] / 2, image.shape[0] / 2),))
    model, is_converted = converted(name, runtime, folder, image, prompt)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    reference, _ = converted(REFERENCE, runtime, folder, image, prompt)
    embedding = model.embed(image)
    times, references, points = [], [], []
    begin = time.monotonic()
    while time.monotonic() < begin + MEASURE_S or len(times) < MIN_ROUNDS:
        references.append(seconds(lambda: reference.embed(image)))
        times.append(seconds(lambda: model.embed(image)))
        points.append(seconds(lambda: model.segment(embedding, [prompt])))
        if times[0] + references[0] > LONG_ROUND_S:
            break
    return {
        "embed_ratio": 1.0 if name == REFERENCE else round(min(times) / min(references), 2),
        "embed_ms": round(1e3 * min(times), 1),
        "reference_ms": round(1e3 * min(references), 1),
        "prompt_ms": round(1e3 * min(points), 1),
        "rounds": len(times),
        "runtime": str(model.runtime if isinstance(model, SamSegmenter) else model.detector.runtime),
        "is_converted": is_converted,
        "peak_memory_mib": peak_mib,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [weights.model for weights in CATALOG if weights.role == "segmenter"]
    parser.add_argument("--models", default=",".join(names))
    parser.add_argument("--runtimes", default="torch,openvino")
    parser.add_argument("--again", action="store_true", help="measure models that are recorded already, too")
    parser.add_argument("--folder", type=Path, help="keeps the converted networks")
    parser.add_argument("--convert", action="store_true", help="only convert the networks for OpenVINO")
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "RUNTIME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.folder or Path(tempfile.mkdtemp())
    if options.one:
        print(json.dumps(measure(*options.one, folder)))
        return
    if options.convert:
        image = synthetic_image()
        for name in options.models.split(","):
            _, is_converted = converted(name, "openvino", folder, image, Prompt(points=(Point(9, 9),)))
            print(name, "is converted" if is_converted else "could not be converted", flush=True)
        return
    recorded: dict[str, Any] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"models": {}}
    for runtime in options.runtimes.split(","):
        for name in options.models.split(","):
            rows = recorded["models"].setdefault(name, {})
            if runtime in rows and not options.again:
                continue
            load = round(os.getloadavg()[0], 1)
            command = [sys.executable, __file__, "--one", name, runtime, "--folder", str(folder)]
            process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if process.returncode:
                print(f"could not measure {name} with {runtime}: exit status {process.returncode}")
                continue
            rows[runtime] = {**json.loads(process.stdout.splitlines()[-1]), "load": load}
            recorded["machine"] = {key: value for key, value in machine_info().items() if key != "load_average"}
            recorded["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
            recorded["command"] = "python tests/benchmarks/model_speeds.py"
            RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
            print(name, runtime, rows[runtime], flush=True)
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
