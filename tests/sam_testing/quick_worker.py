"""A worker process whose detector and segmenter are replaced by a short wait; the rest of the run is real.

LABEL_STUDIO_URL=... LABEL_STUDIO_API_KEY=... python -m sam_testing.quick_worker FOLDER PROJECT SECONDS_PER_TASK
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson

from sam_backend.errors import BackendError
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.preannotation.provenance import region_id
from sam_backend.runs.origin import RunOrigin
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_model.weights.store import store_from_env


class WaitingExecutor:
    """Return one region for every task after a short wait."""

    def __init__(self, preannotator: Preannotator, seconds: float) -> None:
        self.preannotator, self.seconds = preannotator, seconds

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        for task in tasks:
            if is_stopping():
                return
            time.sleep(self.seconds)
            region = {
                "id": region_id(self.preannotator.run_id, task.id, 0),
                "type": "brushlabels",
                "from_name": "mask",
                "to_name": "image",
                "value": {"format": "rle", "rle": [0, 0, 0, 1], "brushlabels": ["person"]},
            }
            prediction = {
                "task": task.id,
                "result": [region],
                "score": 0.5,
                "model_version": self.preannotator.version,
            }
            yield Outcome(task.id, orjson.dumps(prediction), labels={"person": 1})


def main(folder: str, project: str, seconds: str) -> int:
    runs, configuration = RunStore(Path(folder)), RunConfiguration(int(project))
    run = runs.unfinished(configuration, RunOrigin("", configuration.project)) or runs.create(configuration)
    try:
        progress = work_on(
            run,
            settings=Settings(model="classical"),
            access=LabelStudioCredentials(os.environ["LABEL_STUDIO_URL"], os.environ["LABEL_STUDIO_API_KEY"]),
            store=store_from_env({"SAM_OFFLINE": "1"}),
            notify=_say,
            executor_for=lambda preannotator: WaitingExecutor(preannotator, float(seconds)),
            give_up_after_s=float(os.environ.get("GIVE_UP_AFTER_S", "600")),
        )
    except BackendError as error:
        _say(str(error))
        return 1
    _say(progress.message)
    return 0 if progress.state == "finished" else 1


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # as the service's worker does
