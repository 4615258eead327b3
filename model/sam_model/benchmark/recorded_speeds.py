"""The recorded speed of the segmenters beside MobileSAM, by runtime; tests/benchmarks/model_speeds.py measures it."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

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


@cache
def _record() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    found: dict[str, dict[str, dict[str, dict[str, float]]]]
    found = json.loads((files(__package__) / "model_speeds.json").read_text())
    return found
