"""A first run that explains itself: what is missing, in the log, on the page and for `label-studio-sam doctor`."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sam_backend.diagnostics.label_studio_checks import PROJECT_CONNECTED, Check, check_label_studio
from sam_backend.diagnostics.startup_checks import is_writable
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.redaction import mask_userinfo
from sam_backend.runs.run_store import RunStore, RunStoreError, runs_folder
from sam_backend.runs.unreadable_runs import UnreadableRun
from sam_backend.segmenter.choice import DEFAULT_MODEL
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.settings import Settings
from sam_model.weights.catalog import WeightFile, find_weights
from sam_model.weights.store import Presence, WeightStore

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 10.0
SHOWN_RUNS = 3
KEEP_OR_DELETE = (
    "their predictions are still in Label Studio, and a new run with the policy skip passes over those; delete the "
    "files in the subfolder `damaged` of the runs' folder, or restore them from a backup, to end this message"
)


class HealthMonitor:
    """Looks at model and Label Studio, in a thread of its own: no request of Label Studio waits for it."""

    def __init__(
        self,
        settings: Settings,
        access: LabelStudioCredentials,
        model: ModelLoading,
        store: WeightStore,
        is_connected: Callable[[], bool],
        extra_params_problem: Callable[[], str | None],
    ) -> None:
        self._settings, self._access, self._model, self._store = settings, access, model, store
        self._is_connected, self._extra_params_problem = is_connected, extra_params_problem
        self._runs = RunStore(runs_folder(settings.runs_dir))
        self._seen: tuple[Check, ...] = ()
        self._look_again_at = 0.0
        self._looking: threading.Thread | None = None
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to look, if nobody does and the last look is some seconds ago; a new problem goes to the log, once."""
        with self._lock:
            if time.monotonic() < self._look_again_at or (self._looking and self._looking.is_alive()):
                return
            self._looking = threading.Thread(target=self._look, name="first-run", daemon=True)
            self._looking.start()

    def _look(self) -> None:
        try:
            self._seen = self._look_at_label_studio()
        except Exception:  # the edge of a thread
            logger.exception("what a first run lacks could not be found out")
        self._look_again_at = time.monotonic() + LOOK_AGAIN_S
        for check in self._seen:
            if not check.ok and check.problem not in self._told:
                self._told.add(check.problem)
                logger.warning("%s: %s. Next: %s", check.name, check.problem, check.next_step)

    def _look_at_label_studio(self) -> tuple[Check, ...]:
        return tuple(check_label_studio(self._access, self._model.version, self._is_connected()))

    def checks(self) -> tuple[Check, ...]:
        """At once: the model as it is, Label Studio as the last look found it; where that is old, another begins."""
        self.start()
        seen = self._seen
        if self._is_connected():  # a project may have introduced itself since that look
            seen = tuple(PROJECT_CONNECTED if check.name == PROJECT_CONNECTED.name else check for check in seen)
        return (*self._own_checks(), *seen)

    def label_studio_checks(self) -> tuple[Check, ...]:
        """Return Label Studio's checks as the last look found them, at once; where that is old, another begins."""
        self.start()
        return self._seen

    def look(self) -> tuple[Check, ...]:
        """The same, looked at now; takes some seconds where Label Studio does not answer."""
        return (*self._own_checks(), *self._look_at_label_studio())

    def _own_checks(self) -> tuple[Check, ...]:
        checks = [check_model(self._settings, self._model, self._store), check_runs(self._runs)]
        if self._settings.embeddings_dir is not None:
            checks.append(check_embeddings(self._settings.embeddings_dir))
        problem = self._extra_params_problem()
        if problem is not None:
            next_step = "correct them in Label Studio: Settings > Model > Edit"
            checks.append(Check("Extra parameters", False, problem=problem, next_step=next_step))
        return tuple(checks)


def check_runs(runs: RunStore) -> Check:
    """Whether bulk runs can keep their state, and which of them cannot be read; clicks are answered in any case."""
    problem = runs.problem()
    if problem:
        way_out = (
            "free space on that disk, or set SAM_RUNS_DIR to a folder that the backend's user may write and start the "
            "backend again"
        )
        return Check("Runs", False, problem=f"{problem}: no bulk run can begin or go on", next_step=way_out)
    try:
        unreadable = runs.unreadable()
    except RunStoreError as error:
        return Check("Runs", False, problem=str(error), next_step="set SAM_RUNS_DIR to another folder")
    if unreadable:
        return Check("Runs", False, problem=_words_of(unreadable), next_step=KEEP_OR_DELETE)
    return Check("Runs", True, found="their folder can be written, all of them can be read")


def _words_of(unreadable: list[UnreadableRun]) -> str:
    named = "; ".join(f"run {one.id}: {one.cause}" for one in unreadable[:SHOWN_RUNS])
    more = f"; and {len(unreadable) - SHOWN_RUNS} more" if len(unreadable) > SHOWN_RUNS else ""
    return f"runs that cannot be read: {named}{more}"


def check_embeddings(folder: Path) -> Check:
    """Whether embeddings can be kept over restarts; clicks are answered in any case."""
    if is_writable(folder):
        return Check("Embeddings", True, found="their folder can be written")
    return Check(
        "Embeddings",
        False,
        problem="SAM_EMBEDDINGS_DIR cannot be written: every image is embedded again after a restart",
        next_step="make it a folder that the backend's user may write, or unset SAM_EMBEDDINGS_DIR",
    )


def check_model(settings: Settings, model: ModelLoading, store: WeightStore) -> Check:
    """Whether the model answers that was asked for; one that is still being loaded counts."""
    if model.state == "failed":
        weights = _missing_weights(settings.model, store)
        if weights is None:
            way_out = "choose another model with SAM_MODEL, or SAM_DEVICE=auto; then start the backend again"
            return Check("Model", False, problem=model.problem or "", next_step=way_out)
        problem = f"{model.name} has no weights: {weights.file} is missing, and no click is answered"
        return Check("Model", False, problem=problem, next_step=_how_to_bring(weights, store))
    if model.name == "classical" and settings.model == "auto":
        problem = f"no weights of {DEFAULT_MODEL}: the classical segmenter answers, which is no Segment Anything model"
        return Check("Model", False, problem=problem, next_step=_how_to_bring(find_weights(DEFAULT_MODEL), store))
    return Check("Model", True, found=f"{model.version}, {model.progress or model.state}")


def _missing_weights(name: str, store: WeightStore) -> WeightFile | None:
    try:
        weights = find_weights(DEFAULT_MODEL if name == "auto" else name)
    except ValueError:
        return None
    return None if store.status(weights).presence is Presence.PRESENT else weights


def _how_to_bring(weights: WeightFile, store: WeightStore) -> str:
    return (
        f"run `label-studio-sam weights download {weights.model}` where the backend runs, or fetch "
        f"{mask_userinfo(store.url(weights))} and put it into the folder that SAM_WEIGHTS_DIR names; then start the "
        "backend again"
    )
