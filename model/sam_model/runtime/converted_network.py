"""Networks that OpenVINO runs after they were converted once; PyTorch runs them until then.

A conversion takes seconds to a minute. A child process with low priority does it and writes a file, which the next
start reads in less than a second or two. The file's name is made of everything that the result depends on; a network
whose outputs in bfloat16 differ too much is converted in float32, and the name says so.
"""

import atexit
import hashlib
import inspect
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

logger = logging.getLogger(__name__)

SUFFIX = ".openvino"
FLOAT32_SUFFIX = f".float32{SUFFIX}"  # of a file for bfloat16 that is in float32
PRECISION_SUFFIX = ".precision"  # of the file with the precision of a result
UNFINISHED = "converting-"  # beginning of the name of a folder
KEY_LENGTH = 12  # hex digits in the name of a file
KEPT_FILES = 4  # of each network: other weights, precisions, versions of the code or of OpenVINO
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
        remove_unfinished(folder)
        path = folder / f"{name}-{_key(module, examples, digest, dtype)}{SUFFIX}"
        if self._read(path):
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
        """Return whether OpenVINO runs the network."""
        return self._run is not None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the conversion has ended; return whether OpenVINO runs the network."""
        self._ended.wait(timeout_s)
        return self.is_converted

    def _read(self, path: Path) -> bool:
        """Read the file of a conversion in the wanted precision, or that in float32; return whether there is one."""
        if self._read_file(path, self._dtype):
            return True
        return self._dtype != "float32" and self._read_file(path.with_suffix(FLOAT32_SUFFIX), "float32")

    def _read_file(self, path: Path, dtype: str) -> bool:
        if not path.is_file():
            return False
        from sam_model.runtime.openvino_runtime import OpenVinoNetwork

        start = time.monotonic()
        try:
            self._run = OpenVinoNetwork(path, dtype)
        except (RuntimeError, OSError, ValueError) as error:
            logger.warning("could not read %s: %s; converting %s again", path.name, _first_line(error), self._name)
            with suppress(OSError):
                path.unlink()
            return False
        with suppress(OSError):
            os.utime(path)  # `remove_old` keeps the files that were used last
        logger.info("OpenVINO runs %s in %s, read in %.1f s", self._name, dtype, time.monotonic() - start)
        return True

    def _convert(self, examples: Sequence[Example], path: Path) -> None:
        start = time.monotonic()
        logger.info("converting %s for OpenVINO in the background; PyTorch runs it until then", self._name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with CONVERTING, FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
                if not self._read(path):  # another process may have written it meanwhile
                    _convert_in_child(self._module, examples, self._dtype, path)
                    remove_old(path.parent, self._name)
            if self.is_converted or self._read(path):
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
    folder = path.with_name(f"{UNFINISHED}{path.stem}")  # nobody else uses it while the lock of `path` is held
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    folder.chmod(0o700)  # the child unpickles a file of this folder
    try:
        request, result = folder / "request", folder / "result"
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
        is_as_wanted = result.with_suffix(PRECISION_SUFFIX).read_text() == dtype
        result.replace(path if is_as_wanted else path.with_suffix(FLOAT32_SUFFIX))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what conversions left that were killed; those of other processes that go on are left alone."""
    for left in folder.glob(f"{UNFINISHED}*"):
        lock = FileLock(folder / f"{left.name.removeprefix(UNFINISHED)}.lock", timeout=0)
        with suppress(Timeout, OSError), lock:
            shutil.rmtree(left, ignore_errors=True)
            logger.info("removed %s, left by a conversion that did not end", left.name)


def remove_old(folder: Path, name: str) -> None:
    """Remove all converted files of a network but those that were used last (`KEPT_FILES`)."""
    is_own = re.compile(rf"{re.escape(name)}-[0-9a-f]{{{KEY_LENGTH}}}({re.escape('.float32')})?{re.escape(SUFFIX)}")
    files = [file for file in folder.glob(f"{name}-*{SUFFIX}") if is_own.fullmatch(file.name)]
    for file in sorted(files, key=lambda file: -file.stat().st_mtime)[KEPT_FILES:]:
        with suppress(OSError):  # on Windows, a process may use it
            file.unlink()
            logger.info("removed %s, a converted network that was not used for long", file.name)
            file.with_name(file.name.split(".")[0]).with_suffix(".lock").unlink()


def _key(module: nn.Module, examples: Sequence[Example], digest: str, dtype: str) -> str:
    """Return hex digits that depend on weights, code, shapes, precision, OpenVINO and processor."""
    from sam_model.runtime.openvino_runtime import identity

    files = {inspect.getfile(type(part)) for part in module.modules() if type(part).__module__.startswith("sam_model.")}
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sorted(files)]
    shapes = [example.shape for example in examples]
    about = repr((digest, code, shapes, dtype, torch.__version__, identity(), os.environ.get("ONEDNN_MAX_CPU_ISA")))
    return hashlib.sha256(about.encode()).hexdigest()[:KEY_LENGTH]


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
