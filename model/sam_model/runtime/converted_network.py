"""Networks that OpenVINO runs after they were converted once; PyTorch runs them until then.

A conversion takes seconds to a minute. A child process with low priority does it and writes a file, which the next
start reads in less than a second or two. The file's name is made of everything that the result depends on.
"""

import atexit
import hashlib
import inspect
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

logger = logging.getLogger(__name__)

SUFFIX = ".openvino"
CONVERTING = threading.Lock()  # one conversion at a time in a process
LOCK_TIMEOUT_S = 600.0  # for another process that converts the same network


@dataclass(frozen=True)
class Example:
    """An example of a network's input."""

    tensor: Tensor
    varying: tuple[int, ...] = ()  # dimensions whose size varies

    @property
    def shape(self) -> list[int]:
        """The shape, with -1 for sizes that vary."""
        return [-1 if i in self.varying else side for i, side in enumerate(self.tensor.shape)]


class ConvertedNetwork:
    """A network of float32 tensors, run by OpenVINO as soon as it is converted. Threads may share it."""

    def __init__(
        self, module: nn.Module, examples: Sequence[Example], name: str, digest: str, dtype: str, folder: Path
    ) -> None:
        """Read the converted network from `folder`, or start its conversion.

        Args:
            module: takes tensors and returns a tensor or several; its parameters are float32, on the CPU.
            examples: of its inputs.
            name: for the log, and the beginning of the file's name.
            digest: of the module's weights.
            dtype: `float32` or `bfloat16`.
            folder: of the converted networks; created if it is missing.
        """
        self._module, self._name, self._dtype = module, name, dtype
        self._run: Any = None
        self._ended = threading.Event()
        path = folder / f"{name}-{_key(module, examples, digest, dtype)}{SUFFIX}"
        if path.is_file() and self._read(path):
            self._ended.set()
            return
        threading.Thread(target=self._convert, args=(examples, path), name=f"convert {name}", daemon=True).start()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network on float32 tensors."""
        run = self._run  # another thread may set it to None
        if run is not None:
            try:
                outputs: tuple[Tensor, ...] = run(*inputs)
                return outputs
            except RuntimeError as error:
                logger.warning("OpenVINO could not run %s: %s; PyTorch runs it", self._name, _first_line(error))
                self._run = None
        answer = self._module(*inputs)
        return answer if isinstance(answer, tuple) else (answer,)

    @property
    def is_converted(self) -> bool:
        """Whether OpenVINO runs the network."""
        return self._run is not None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the conversion has ended; return whether OpenVINO runs the network."""
        self._ended.wait(timeout_s)
        return self.is_converted

    def _read(self, path: Path) -> bool:
        from sam_model.runtime.openvino_runtime import OpenVinoNetwork

        start = time.monotonic()
        try:
            self._run = OpenVinoNetwork(path, self._dtype)
        except (RuntimeError, OSError, ValueError) as error:
            logger.warning("could not read %s: %s; converting %s again", path.name, _first_line(error), self._name)
            with suppress(OSError):
                path.unlink()
            return False
        logger.info("OpenVINO runs %s in %s, read in %.1f s", self._name, self._dtype, time.monotonic() - start)
        return True

    def _convert(self, examples: Sequence[Example], path: Path) -> None:
        start = time.monotonic()
        logger.info("converting %s for OpenVINO in the background; PyTorch runs it until then", self._name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with CONVERTING, FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
                if not path.is_file():  # another process may have written it meanwhile
                    _convert_in_child(self._module, examples, self._dtype, path)
            if self._read(path):
                logger.info("%s was converted for OpenVINO after %.1f s", self._name, time.monotonic() - start)
        except Exception as error:  # noqa: BLE001  # the outermost call of a thread, and PyTorch can do the work
            logger.warning("could not convert %s for OpenVINO: %s; PyTorch runs it", self._name, _first_line(error))
        finally:
            self._ended.set()


def _convert_in_child(module: nn.Module, examples: Sequence[Example], dtype: str, path: Path) -> None:
    """Convert a network in a child process: memory of the conversion is freed, and threads of this one go on.

    Raises:
        OSError: the folder cannot be written.
        RuntimeError: the conversion failed.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="converting-") as folder:
        request, result = Path(folder) / "request", Path(folder) / "result"
        shapes = [example.shape for example in examples]
        torch.save(
            {"module": module, "inputs": [e.tensor for e in examples], "shapes": shapes, "dtype": dtype}, request
        )
        child = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", "sam_model.runtime.conversion", str(request), str(result)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,  # stays open until this process ends, however it ends; then the child ends too
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        atexit.register(child.kill)
        with child:
            assert child.stderr is not None
            problem = child.stderr.read()
        atexit.unregister(child.kill)
        if child.returncode:
            raise RuntimeError((problem.strip().splitlines() or [f"exit code {child.returncode}"])[-1])
        result.replace(path)


def _key(module: nn.Module, examples: Sequence[Example], digest: str, dtype: str) -> str:
    """Return twelve hex digits that depend on weights, code, shapes, precision, OpenVINO and processor."""
    from sam_model.runtime.openvino_runtime import identity

    files = {inspect.getfile(type(part)) for part in module.modules() if type(part).__module__.startswith("sam_model.")}
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sorted(files)]
    shapes = [example.shape for example in examples]
    about = repr((digest, code, shapes, dtype, torch.__version__, identity(), os.environ.get("ONEDNN_MAX_CPU_ISA")))
    return hashlib.sha256(about.encode()).hexdigest()[:12]


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
