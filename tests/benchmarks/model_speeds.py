"""Speed of every segmenter of the catalogue beside MobileSAM, by runtime.

Measured for each runtime (PyTorch in float32, OpenVINO in the precision it is fastest with): one embedding, and one
point on an embedded image. Weights are seeded: random weights take as long as trained ones. MobileSAM's embedding and
the model's alternate, and the ratio of their minima is recorded, since the absolute time depends on the other work of
the machine. Each pair of model and runtime runs in a process of its own, which also tells its peak memory.

`SAM_MODEL=auto` reads the ratios from model/sam_model/benchmark/model_speeds.json, and docs/models.md has a column of
them. Models that are measured already are left out, so the script can be run model by model.

    python tests/benchmarks/model_speeds.py [--models A,B] [--runtimes torch,openvino] [--again]
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

from sam_model.benchmark.compared_model import _seeded_sam, _seeded_yolo
from sam_model.benchmark.model_speed import machine_info, synthetic_image
from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam_checkpoints import SIZES
from sam_model.types import Point, Prompt
from sam_model.weights.catalog import CATALOG
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_model.yolo.sizes import SIZES as YOLO_SIZES

RECORDED = Path(__file__).parents[2] / "model/sam_model/benchmark/model_speeds.json"
REFERENCE = "mobile_sam"
CONVERSION_TIMEOUT_S = 3600
MEASURE_S = 12.0  # per model, at least `MIN_ROUNDS` rounds
MIN_ROUNDS = 4


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


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure(name: str, runtime: str, folder: Path) -> dict[str, Any]:
    """Return the times of a model in a runtime, and the ratio of its embedding to MobileSAM's."""
    image = synthetic_image()
    prompt = Prompt(points=(Point(image.shape[1] / 2, image.shape[0] / 2),))
    model = segmenter(name, runtime, folder)
    model.segment(model.embed(image), [prompt])  # warm-up; starts the conversion of the decoder
    is_converted = wait_for_conversion(model, runtime)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    reference = segmenter(REFERENCE, runtime, folder)
    reference.segment(reference.embed(image), [prompt])
    wait_for_conversion(reference, runtime)
    reference.embed(image)
    embedding = model.embed(image)
    times, references, points = [], [], []
    end = time.monotonic() + MEASURE_S
    while time.monotonic() < end or len(times) < MIN_ROUNDS:
        references.append(seconds(lambda: reference.embed(image)))
        times.append(seconds(lambda: model.embed(image)))
        points.append(seconds(lambda: model.segment(embedding, [prompt])))
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
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "RUNTIME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    if options.one:
        print(json.dumps(measure(*options.one, folder)))
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
