"""The projects that introduced themselves with POST /setup, and the pre-annotation that each wants.

Two Label Studios may have projects of the same number. So a project is known by its number and its creation time in
whole seconds, which Label Studio sends with POST /setup and POST /predict ("<number>.<seconds since 1970>"). The
address in POST /setup is no evidence: one Label Studio may have several.

What a project wants stands in the extra parameters of its connected model, such as {"detector": "yolov8x",
"score_threshold": 0.4}: the fields of a run. Without any, the settings' detector counts.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import orjson

from sam_backend.bounded_cache import BoundedCache
from sam_backend.errors import BackendError, BadRequestError
from sam_backend.preannotation.configuration import WITHOUT_DETECTOR, RunConfiguration
from sam_backend.preannotation.loading import preannotation_version, version_with
from sam_backend.protocol.fields import mapping, shown
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.settings import Settings
from sam_model.registry import DETECTOR_NAMES, MODEL_NAMES
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)

REMEMBERED_AT_MOST = 10_000  # projects
REMEMBERED_BYTES = 16 << 20  # of their extra parameters together
LARGEST_EXTRA_PARAMS = 16 * 1024  # bytes, of one project
_ENTRY_BYTES = 300  # of an entry beside its text
VERSION_WAIT_S = 1.5  # Label Studio gives POST /setup 3 s


ProjectKey = tuple[int, int | None]  # number, creation time


class ProjectRegistry:
    """Remembers projects since the start; Label Studio introduces one again each time a page of it is opened."""

    def __init__(self, settings: Settings, model: ModelLoading, store: WeightStore) -> None:
        self._settings, self._model, self._store = settings, model, store
        self._extra: BoundedCache[ProjectKey, bytes] = BoundedCache(REMEMBERED_AT_MOST, REMEMBERED_BYTES)
        self._versions: BoundedCache[bytes, str] = BoundedCache(REMEMBERED_AT_MOST, REMEMBERED_BYTES)
        self._newest: BoundedCache[int, ProjectKey] = BoundedCache(REMEMBERED_AT_MOST, REMEMBERED_BYTES)
        self._problems: BoundedCache[int, str] = BoundedCache(100, 100_000)

    def learn(self, project: int, extra_params: bytes | None, created_s: int | None = None) -> None:
        """Note the extra parameters, as JSON text, that a project's model was connected with.

        `created_s` is the project's creation time in seconds since 1970, where it is known.

        Text above `LARGEST_EXTRA_PARAMS` is refused: the project counts as connected without any.
        """
        given = extra_params or b""
        self._problems.discard(project)
        if len(given) > LARGEST_EXTRA_PARAMS:
            self._note_problem(
                project, f"the model's extra parameters have {len(given)} bytes, more than {LARGEST_EXTRA_PARAMS}"
            )
            given = b""
        self._extra.put((project, created_s), given, len(given) + _ENTRY_BYTES)
        self._newest.put(project, (project, created_s), _ENTRY_BYTES)

    @property
    def problem(self) -> str | None:
        """Why the extra parameters of a project cannot be used, of the one that was connected last; None: none."""
        return self._problems.newest()

    def _note_problem(self, project: int, problem: str) -> None:
        logger.warning("project %d: %s", project, problem)
        self._problems.put(project, f"project {project}: {problem}", len(problem) + _ENTRY_BYTES)

    def __len__(self) -> int:
        return len(self._extra)

    def knows(self, project: int, created_s: int | None = None) -> bool:
        """Return whether a project introduced itself; without a creation time, one of that number."""
        return self._key(project, created_s) in self._extra

    def _key(self, project: int, created_s: int | None) -> ProjectKey:
        newest = self._newest.get(project) if created_s is None else None
        return newest or (project, created_s)

    def configuration(self, project: int, created_s: int | None = None) -> RunConfiguration | None:
        """The pre-annotation that a project wants; None where nobody said.

        Raises:
            BadRequestError: the extra parameters are no fields of a run; names the first that is wrong.
        """
        stored = self._extra.get(self._key(project, created_s))
        try:
            given = orjson.loads(stored) if stored else None
        except orjson.JSONDecodeError as error:  # half of a surrogate pair, which is JSON but no text
            raise BadRequestError(f"the model's extra parameters are not JSON: {error}") from None
        if isinstance(given, str) and given.strip():
            try:
                given = json.loads(given)
            except ValueError:
                raise BadRequestError(f"the model's extra parameters {shown(given)} are not JSON") from None
        if not given:
            detector = self._settings.detector
            return None if detector is None else self.resolved(RunConfiguration(project, detector=detector))
        try:
            asked = mapping(given, "the object")
            configuration = RunConfiguration.from_json({**asked, "project": project})
            check_names(configuration)
        except BackendError as error:
            raise BadRequestError(f"the model's extra parameters cannot be used: {error}") from None
        if "detector" not in asked and self._settings.detector is not None:
            configuration = replace(configuration, detector=self._settings.detector)
        return self.resolved(configuration)

    def resolved(self, configuration: RunConfiguration) -> RunConfiguration:
        """The same with the service's own model in place of `auto`, so that a run takes the model that answers clicks.

        Where the settings name a file, `auto` stays: the run's process has the same settings.
        """
        is_open = configuration.model == "auto" and self._settings.model == "auto"
        return configuration.with_model(self._model.name) if is_open else configuration

    def takes_own_model(self, configuration: RunConfiguration) -> bool:
        """Whether the service's own segmenter is the one that a configuration names."""
        return configuration.model in ("auto", self._model.name)

    def version(self, configuration: RunConfiguration) -> str:
        """The model_version of predictions of a configuration; a hash or an import may have to be made for it.

        Raises:
            BadRequestError: no such model, detector or file.
        """
        words = json.dumps([configuration.to_json() | {"project": 0, "filter": None}, self._model.version])
        key = hashlib.sha256(words.encode()).digest()
        known = self._versions.get(key)
        if known is None:
            if self.takes_own_model(configuration):
                known = version_with(configuration, self._model.name, self._model.version, self._store)
            else:
                known = preannotation_version(configuration, self._settings, self._store)
            self._versions.put(key, known, len(known) + _ENTRY_BYTES)
        return known

    def version_for_setup(self, project: int, created_s: int | None = None) -> str:
        """What POST /setup answers, within `VERSION_WAIT_S`: the pre-annotation's version, else the model's own."""
        try:
            configuration = self.configuration(project, created_s)
        except BackendError as error:
            self._note_problem(project, str(error)[:1000])
            return self._model.version
        if configuration is None:
            return self._model.version
        found = _soon(lambda: self.version(configuration), VERSION_WAIT_S)
        return found or self._model.version


def created_seconds(created_at: object) -> int | None:
    """Return a creation time of Label Studio's API in whole seconds since 1970; None where it is no time."""
    try:
        return int(datetime.fromisoformat(str(created_at)).timestamp())
    except (ValueError, OverflowError):
        return None


def check_names(configuration: RunConfiguration) -> None:
    """Refuse what may not come over the network: paths of files, and where a Ray cluster is.

    Raises:
        BadRequestError: names the field and what is known.
    """
    detectors, models = (*WITHOUT_DETECTOR, *DETECTOR_NAMES), ("auto", *MODEL_NAMES)
    for field, value, known in (
        ("detector", configuration.detector, detectors),
        ("model", configuration.model, models),
    ):
        if value not in known:
            raise BadRequestError(f"{field}={shown(value)} is not one of {', '.join(known)}")
    if configuration.ray_address is not None:
        raise BadRequestError("ray_address is for the command line only")


def _soon(compute: Callable[[], str], timeout_s: float) -> str | None:
    """The result, or None where it fails or takes longer; it is remembered for the next time then."""
    found: list[str] = []

    def run() -> None:
        try:
            found.append(compute())
        except BackendError as error:
            logger.warning("%s", error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else None
