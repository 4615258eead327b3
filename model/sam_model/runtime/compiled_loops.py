"""Modules of compiled loops, loaded in the background: NumPy does their work until they are ready."""

import importlib
import logging
import threading
import time
from types import ModuleType

logger = logging.getLogger(__name__)


class CompiledLoops:
    """A module whose functions Numba compiles when it is imported. Threads may share it."""

    def __init__(self, module: str) -> None:
        """Take the module's name; nothing is imported yet."""
        self._name = module
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
        if self._module is None:
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
            self._module = importlib.import_module(self._name)
        except ModuleNotFoundError as error:
            logger.debug("%s is not compiled: %s; NumPy does its work", self._name, error)
        except Exception as error:  # noqa: BLE001  # the outermost call of a thread, and NumPy can do the work
            logger.warning("could not compile %s: %s; NumPy does its work", self._name, error)
        else:
            logger.debug("%s is ready after %.1f s", self._name, time.monotonic() - start)
