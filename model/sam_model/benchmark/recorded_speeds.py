"""The recorded speed of the segmenters beside MobileSAM, by runtime; tests/benchmarks/model_speeds.py measures it."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

SAME_NETWORK = {  # the first version of SAM 2's weights: other numbers in the same network
    f"sam2_hiera_{size}": f"sam2.1_hiera_{size}" for size in ("tiny", "small", "base_plus", "large")
}


@dataclass(frozen=True)
class RecordedSpeed:
    """Times of a model in one runtime, on the machine of the record."""

    embed_ratio: float  # time of an embedding, MobileSAM's is 1
    prompt_ms: float  # one more prompt on an embedded image
    peak_memory_mib: int  # of the process


def recorded_speed(model: str, runtime: str) -> RecordedSpeed | None:
    """Return the speed of a model in the runtime `torch` or `openvino`; None if it was not measured."""
    row = _record()["models"].get(SAME_NETWORK.get(model, model), {}).get(runtime)
    if row is None:
        return None
    return RecordedSpeed(row["embed_ratio"], row["prompt_ms"], int(row["peak_memory_mib"]))


def record_description() -> str:
    """Return where and how the speeds were measured, as one line of Markdown."""
    record = _record()
    machine: Any = record["machine"]
    rows = [row for runtimes in record["models"].values() for row in runtimes.values()]
    loads = sorted(row["load"] for row in rows)
    return (
        f"`{record['command']}`, {record['date']}, processor time of one thread, {machine['processor']}, PyTorch "
        f"{machine['torch']}, load {loads[0]:g} to {loads[-1]:g}."
    )


@cache
def _record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files(__package__) / "model_speeds.json").read_text())
    return found
