"""Downloads of weights that were started over HTTP, each in a thread."""

import logging
import threading
from dataclasses import dataclass

from sam_backend.redaction import mask_userinfo
from sam_model.weights.catalog import WeightFile
from sam_model.weights.download import Progress
from sam_model.weights.folder_store import fetch_folder
from sam_model.weights.folders import WeightFolder
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)


@dataclass
class Download:
    """A download: running, done, or failed."""

    progress: Progress | None = None
    problem: str = ""
    is_done: bool = False

    @property
    def is_running(self) -> bool:
        """True until the download succeeds or fails."""
        return not (self.is_done or self.problem)


class Downloads:
    """The last download of each model. Threads may share it."""

    def __init__(self, store: WeightStore) -> None:
        self._store = store
        self._downloads: dict[str, Download] = {}
        self._lock = threading.Lock()

    def of(self, model: str) -> Download | None:
        """Return the last download of a model; None if there was none."""
        return self._downloads.get(model)

    def start(self, weights: WeightFile | WeightFolder) -> None:
        """Download a model's file or folder in a thread, unless that is running; an interrupted download continues."""
        with self._lock:
            found = self._downloads.get(weights.model)
            if found is not None and found.is_running:
                return
            download = self._downloads[weights.model] = Download()
        threading.Thread(target=self._run, args=(weights, download), name="download", daemon=True).start()

    def _run(self, weights: WeightFile | WeightFolder, download: Download) -> None:
        def note(progress: Progress) -> None:
            download.progress = progress

        try:
            if isinstance(weights, WeightFolder):
                fetch_folder(self._store, weights, note)
            else:
                self._store.fetch(weights, note)
        except Exception as error:  # noqa: BLE001  # the edge of a thread: the page shows any error
            download.problem = mask_userinfo(str(error)) or type(error).__name__
            logger.error("could not download %s: %s", weights.model, download.problem)
        else:
            download.is_done = True
            logger.info("%s is downloaded", weights.model)
