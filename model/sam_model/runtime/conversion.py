"""The program that converts one network: `python -m sam_model.runtime.conversion REQUEST RESULT`.

`sam_model.runtime.converted_network` writes REQUEST, starts the program, and reads RESULT.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

from sam_model.runtime.openvino_runtime import convert

NICENESS = 10  # clicks come first


def main(request_path: str, result_path: str) -> None:
    """Convert the network of a request, and write the result."""
    with suppress(AttributeError, OSError):  # Windows has no niceness
        os.nice(NICENESS)
    # written by the parent process a moment ago, in a folder that only this user can read
    request = torch.load(request_path, weights_only=False, mmap=True)
    convert(request["module"], request["inputs"], request["shapes"], Path(result_path), request["dtype"])


if __name__ == "__main__":
    main(*sys.argv[1:])
