"""The compiled loops of the brush RLE codec, loaded in the background: NumPy does the work until they are ready."""

import importlib
import logging
import threading
import time
from types import ModuleType

logger = logging.getLogger(__name__)

NAME = "sam_backend.shapes.brush_rle_kernels"


class CompiledLoops:
    """The module of the compiled loops. Threads may share it."""

    def __init__(self) -> None:
        self._module: ModuleType | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def get(self) -> ModuleType | None:
        """Return the module; start loading it if that was not done, and return None until it is ready."""
        if self._thread is None:
            self._start()
        return self._module

    def wait(self) -> ModuleType | None:
        """Return the module after loading it; None if Numba is not installed or cannot compile it."""
        self._start().join()
        return self._module

    def _start(self) -> threading.Thread:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._load, name="load compiled loops", daemon=True)
                self._thread.start()
            return self._thread

    def _load(self) -> None:
        start = time.monotonic()
        try:
            self._module = importlib.import_module(NAME)
        except ModuleNotFoundError as error:
            logger.debug("no compiled brush RLE codec: %s; NumPy does its work", error)
        except Exception as error:  # noqa: BLE001  # the outermost call of a thread, and NumPy can do the work
            logger.warning("could not compile the brush RLE codec: %s; NumPy does its work", error)
        else:
            logger.debug("the compiled brush RLE codec is ready after %.1f s", time.monotonic() - start)


loops = CompiledLoops()
