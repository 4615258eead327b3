"""Worker process for one run of the service: `python -m sam_backend.runs.worker_process FOLDER RUN`.

The process has the lowest priority. It ends when its standard input closes, that is when the service ends; the run of
a killed worker can be continued.
"""

import logging
import os
import sys
import threading
from pathlib import Path

import cv2

from sam_backend.errors import BackendError
from sam_backend.label_studio.credentials import IS_LEARNED, LabelStudioCredentials
from sam_backend.logs import configure_logs
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.segmenter.weight_store import weight_store
from sam_backend.settings import Settings

logger = logging.getLogger(__name__)

NICENESS = 19  # the lowest priority


def main(folder: str, run_id: str) -> int:
    """Work on the run until it ends, is paused or is cancelled."""
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    os.nice(NICENESS)
    cv2.setNumThreads(1)  # images are already processed in parallel
    settings = Settings.from_env()
    configure_logs(settings.log_level, settings.log_format)
    try:
        work_on(
            RunStore(Path(folder)).get(run_id),
            settings=settings,
            access=LabelStudioCredentials(
                settings.label_studio_url, settings.label_studio_api_key, is_learned=IS_LEARNED in os.environ
            ),
            store=weight_store(settings),
        )
    except BackendError as error:
        logger.warning("run %s: %s", run_id, error)
        return 1
    return 0


def _end_with_the_service() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # without waiting for a stage that is still busy
