"""OpenVINO: converts PyTorch modules and runs them. This is the only file that imports it."""

import io
import math
import mmap
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MAX_ERROR = 0.1  # difference of outputs in bfloat16 and float32, as a share of their norm; 0.02 is usual
LONG_CALL_S = 0.2  # memory of intermediate results is freed after calls that take longer; getting it again takes 0.03 s
NETWORKS: "WeakSet[OpenVinoNetwork]" = WeakSet()  # that exist
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoNetwork:
    """A converted network. Threads may share it; it runs one call at a time, on all cores."""

    def __init__(self, path: Path, dtype: str) -> None:
        """Read a file of `convert`.

        Raises:
            RuntimeError: the file was made by another version or for another processor, or is damaged.
        """
        import openvino

        # kept: the network reads constants from it in every call, and does not keep it itself
        self._file = np.memmap(path, dtype=np.uint8, mode="c")
        self._content = openvino.Tensor(self._file, shared_memory=True)
        self._compiled = openvino.Core().import_model(self._content, "CPU", _properties(dtype))
        self._request = self._compiled.create_infer_request()
        self._lock = threading.Lock()
        self._last_call_s = 0.0
        self._drop_file_pages()
        NETWORKS.add(self)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network on float32 tensors on the CPU; return float32 tensors."""
        arrays = [tensor.numpy() for tensor in inputs]
        with self._lock:
            began = time.perf_counter()
            outputs = self._request.infer(arrays, share_inputs=True)  # the outputs are copied
            self._last_call_s = time.perf_counter() - began
        return tuple(torch.from_numpy(array) for array in outputs.values())

    def release_memory(self) -> None:
        """Free what the next call can make or read again, unless a thread uses the network."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._last_call_s >= LONG_CALL_S:
                self._compiled.release_memory()
            self._drop_file_pages()
        finally:
            self._lock.release()

    def _drop_file_pages(self) -> None:
        """Take the pages of the file out of this process; the kernel keeps them as long as it has memory.

        OpenVINO has copies of most weights, in the order in which it reads them. It writes to none of the pages.
        """
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            pages: Any = self._file._mmap  # type: ignore[attr-defined]  # NumPy has no other way to it
            pages.madvise(mmap.MADV_DONTNEED)


def release_memory() -> None:
    """Free the memory of intermediate results of all networks that are not in use, and pages of their files.

    Those of a network with short calls are kept: they are small, and getting them again takes as long as a call.
    """
    for network in list(NETWORKS):
        network.release_memory()


def convert(
    module: nn.Module, inputs: Sequence[Tensor], shapes: Sequence[Sequence[int]], path: Path, dtype: str
) -> str:
    """Convert a PyTorch module, compile it for this processor, and write it to a file; return the precision.

    Args:
        module: takes tensors and returns a tensor or several.
        inputs: an example of its inputs.
        shapes: of each input, with -1 for a side that varies.
        path: of the file.
        dtype: `float32` or `bfloat16`, instead of which float32 is used if the outputs differ too much from those of
            the module. Inputs and outputs are float32.

    Raises:
        RuntimeError: the conversion failed, or the outputs differ from those of the module.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it would report the conversion to a server
    import openvino

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # shapes that the trace takes for constants: those of `shapes` that are given
        # without a check: convert_model would run the module two more times
        trace: Any = torch.jit.trace
        traced = trace(module.eval(), tuple(inputs), check_trace=False)
        model = openvino.convert_model(traced, example_input=tuple(inputs), input=[list(shape) for shape in shapes])
        expected = traced(*inputs)
    wanted = expected if isinstance(expected, tuple) else (expected,)
    for precision in dict.fromkeys((dtype, "float32")):
        compiled = openvino.Core().compile_model(model, "CPU", _properties(precision))
        error = _largest_error(compiled([tensor.numpy() for tensor in inputs]).values(), wanted)
        if error <= MAX_ERROR:
            written: io.BytesIO = compiled.export_model()
            path.write_bytes(written.getbuffer())
            return precision
    raise RuntimeError(f"the outputs of the converted network differ by {error:.3f} of their norm")


def _largest_error(found: Iterable[NDArray[np.float32]], wanted: Sequence[Tensor]) -> float:
    """Return the largest difference of two outputs, as a share of the norm of the wanted one; infinite for NaN."""
    errors = [
        float((torch.from_numpy(array) - tensor).norm() / tensor.norm().clamp(min=1e-6))
        for array, tensor in zip(found, wanted, strict=True)
    ]
    return max(error if error >= 0 else math.inf for error in errors)


def identity() -> str:
    """Return a text that changes with OpenVINO's version and the processor: files of `convert` fit both."""
    import openvino

    core = openvino.Core()
    capabilities = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return f"{openvino.__version__} {core.get_property('CPU', 'FULL_DEVICE_NAME')} {capabilities}"


def _properties(dtype: str) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
