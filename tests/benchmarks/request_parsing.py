"""How much CPU time and memory it takes to parse the body of a click: msgspec's structs against orjson's objects.

Label Studio sends the whole task with every click, with the 300 masks that a person has drawn already. `before` is what
the parser did: orjson makes Python objects of the body, from which the fields are taken. Both run in turn, in one
process for the times, and in a process each for the memory (peak resident size, the body itself left out).
"""

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from sam_backend.protocol.requests import PredictRequest
from sam_testing.label_studio import key_point, predict_request
from sam_testing.memory import peak_growth

ROUNDS = 15
RLE_BYTES = 9000  # of one mask: 300 of them make a body of 9.6 MB


def body_of_click(regions: int, seed: int = 7) -> bytes:
    """Return the body of a click on a task with one annotation of `regions` brush regions."""
    chance = random.Random(seed)
    result = [
        {
            "id": f"r{i}",
            "type": "brushlabels",
            "from_name": "brush",
            "to_name": "image",
            "original_width": 1280,
            "original_height": 720,
            "image_rotation": 0,
            "origin": "manual",
            "value": {"format": "rle", "rle": list(chance.randbytes(RLE_BYTES)), "brushlabels": ["Cat"]},
        }
        for i in range(regions)
    ]
    request = predict_request([key_point(50, 50)])
    request["tasks"][0]["annotations"] = [{"id": 1, "result": result, "was_cancelled": False}]
    return json.dumps(request, separators=(",", ":")).encode()


def before(body: bytes) -> Any:
    """Parse as the parser did without msgspec: all of the body becomes objects."""
    request = orjson.loads(body)
    task = request["tasks"][0]
    return task["id"], task["data"]["image"], request["label_config"], request["params"]["context"]["result"][0]


def after(body: bytes) -> Any:
    """Parse as the routes do."""
    request = PredictRequest.from_json(body)
    return request.tasks[0].id, request.tasks[0].data["image"], request.labeling_config, request.context


def milliseconds(body: bytes) -> dict[str, list[float]]:
    """Return the times of both, taken in turn after one turn that does not count."""
    found: dict[str, list[float]] = {"before": [], "after": []}
    parsers: tuple[Callable[[bytes], Any], ...] = (before, after)
    for turn in range(ROUNDS + 1):
        for parse in parsers:
            began = time.thread_time()
            parse(body)
            if turn:
                found[parse.__name__].append(1e3 * (time.thread_time() - began))
    return found


def growth_mib(regions: int, parser: str) -> float:
    """Return how much the peak of a process grows by one parse, in MiB."""
    setup = f"""
    import benchmarks.request_parsing as benchmark
    import pathlib, tempfile, subprocess, sys
    with tempfile.NamedTemporaryFile() as file:  # made in another process: its peak is not ours
        code = "import sys, benchmarks.request_parsing as b; sys.stdout.buffer.write(b.body_of_click({regions}))"
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
        body = pathlib.Path(file.name).read_bytes()
    benchmark.{parser}(benchmark.body_of_click(1))
    """
    growth, _ = peak_growth(setup, f"kept = benchmark.{parser}(body)")
    return growth / (1 << 20)


def main() -> None:
    """Measure both for one size of task; a table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=300)
    regions = parser.parse_args().regions
    body = body_of_click(regions)
    times = milliseconds(body)
    rows: dict[str, dict[str, float]] = {}
    for name, found in times.items():
        rows[name] = {
            "median_ms": round(statistics.median(found), 1),
            "p95_ms": round(sorted(found)[int(0.95 * len(found))], 1),
            "growth_mib": round(growth_mib(regions, name), 1),
        }
    versions = f"msgspec {msgspec.__version__}, orjson {orjson.__version__}, Python {platform.python_version()}"
    print(f"{regions} regions, {len(body) / 1e6:.1f} MB, {versions}")
    print("|        | median ms | p95 ms | memory MiB |\n|--------|----------:|-------:|-----------:|")
    for name, row in rows.items():
        print(f"| {name:6} | {row['median_ms']:9} | {row['p95_ms']:6} | {row['growth_mib']:10} |")
    ratio = rows["before"]["median_ms"] / rows["after"]["median_ms"]
    print(json.dumps({"bytes": len(body), "rows": rows, "times_faster": round(ratio, 2)}))


if __name__ == "__main__":
    main()
