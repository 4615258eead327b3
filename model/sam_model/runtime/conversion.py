"""The program that converts one network: `python -m sam_model.runtime.conversion REQUEST RESULT`.

`sam_model.runtime.converted_network` writes REQUEST, starts the program, and reads RESULT.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import torch

from sam_model.runtime.converted_network import PRECISION_SUFFIX
from sam_model.runtime.openvino_runtime import convert

NICENESS = 10  # clicks come first


def main(request_path: str, result_path: str) -> None:
    """Convert the network of a request, write the result, and its precision beside it."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    with suppress(AttributeError, OSError):  # Windows has no niceness
        os.nice(NICENESS)
    # written by the parent process a moment ago, in a folder that only this user can read
    request = torch.load(request_path, weights_only=False, mmap=True)
    result = Path(result_path)
    precision = convert(request["module"], request["inputs"], request["shapes"], result, request["dtype"])
    result.with_suffix(PRECISION_SUFFIX).write_text(precision)


def _end_with_the_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # without the lock of a buffered read, which the end of the program would need
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
