"""Projects that were registered with POST /setup, and the pre-annotation of each one.

Two Label Studio installations may have projects of the same number. So the key of a project is its number and its
creation time in whole seconds, which Label Studio sends with POST /setup and POST /predict ("<number>.<seconds since
1970>"). The address in POST /setup does not identify an installation: one may have several.

The extra parameters of a project's connected model describe its clicks and its pre-annotation, such as
{"candidates": 3, "detector": "yolov8x"}. Without a field of a run in them, the detector of the settings counts.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sam_backend.bounded_cache import BoundedCache
from sam_backend.errors import BackendError, BadRequestError
from sam_backend.interactive.extra_params import ClickOptions, ExtraParams
from sam_backend.preannotation.configuration import AUTO, SEGMENTER, RunConfiguration
from sam_backend.preannotation.label_mapping import LabelMapping
from sam_backend.preannotation.loading import detector_of, preannotation_version, version_with
from sam_backend.preannotation.own_detectors import detector_choices, own_detectors
from sam_backend.protocol.fields import shown
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.segmenter.choice import SEGMENTER_NAMES
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.segmenter.models import Models
from sam_backend.settings import Settings
from sam_model.interfaces import Segmenter
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)

RUN_FIELDS = frozenset(each.name for each in fields(RunConfiguration))
MAX_PROJECTS = 10_000
MAX_STORED_BYTES = 16 << 20  # extra parameters of all projects
MAX_EXTRA_PARAMS_BYTES = 16 * 1024  # of one project
_ENTRY_BYTES = 300  # memory of an entry, its text excluded
VERSION_TIMEOUT_S = 1.5  # Label Studio waits 3 s for the answer to POST /setup

ProjectKey = tuple[int, int | None]  # number, creation time


class ProjectRegistry:
    """Store the projects registered since the start; threads may share it.

    Label Studio registers a project again each time one of its pages is opened.
    """

    def __init__(
        self,
        settings: Settings,
        models: Models,
        store: WeightStore,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._models, self._store, self._clock = settings, models, store, clock
        self._extra: BoundedCache[ProjectKey, bytes] = BoundedCache(MAX_PROJECTS, MAX_STORED_BYTES)
        self._versions: BoundedCache[bytes, str] = BoundedCache(MAX_PROJECTS, MAX_STORED_BYTES)
        self._newest: BoundedCache[int, ProjectKey] = BoundedCache(MAX_PROJECTS, MAX_STORED_BYTES)
        self._registered_at: BoundedCache[ProjectKey, float] = BoundedCache(MAX_PROJECTS, MAX_STORED_BYTES)
        self._clicks: BoundedCache[ProjectKey, str] = BoundedCache(MAX_PROJECTS, MAX_STORED_BYTES)
        self._problems: BoundedCache[int, str] = BoundedCache(100, 100_000)

    def learn(self, project: int, extra_params: bytes | None, created_s: int | None = None) -> None:
        """Store the extra parameters of a project, as JSON text.

        Text above `MAX_EXTRA_PARAMS_BYTES` is refused: the project is registered without extra parameters.

        Args:
            project: its number.
            extra_params: of its connected model.
            created_s: the project's creation time in seconds since 1970; None if it is not known.
        """
        given = extra_params or b""
        self._problems.discard(project)
        if len(given) > MAX_EXTRA_PARAMS_BYTES:
            self.note_problem(
                project, f"the extra parameters have {len(given)} bytes; the maximum is {MAX_EXTRA_PARAMS_BYTES}"
            )
            given = b""
        self._extra.put((project, created_s), given, len(given) + _ENTRY_BYTES)
        self._registered_at.put((project, created_s), self._clock(), _ENTRY_BYTES)
        self._newest.put(project, (project, created_s), _ENTRY_BYTES)

    @property
    def problem(self) -> str | None:
        """Why the extra parameters of the project registered last cannot be used; None if all can."""
        return self._problems.newest()

    def note_problem(self, project: int, problem: str) -> None:
        """Log and keep why the extra parameters of a project cannot be used."""
        logger.warning("project %d: %s", project, problem)
        self._problems.put(project, f"project {project}: {problem}", len(problem) + _ENTRY_BYTES)

    def note_clicks(self, project: int, described: str, created_s: int | None = None) -> None:
        """Keep the description of the regions that a project's clicks get."""
        key = self._key(project, created_s)
        if self._clicks.get(key) != described:
            logger.info("project %d: clicks get: %s", project, described)
        self._clicks.put(key, described, len(described) + _ENTRY_BYTES)

    def clicks(self, project: int, created_s: int | None = None) -> str | None:
        """Return the description of the regions that a project's clicks get; None if it is not known."""
        return self._clicks.get(self._key(project, created_s))

    def __len__(self) -> int:
        return len(self._extra)

    def knows(self, project: int, created_s: int | None = None) -> bool:
        """Return whether a project is registered; without a creation time, whether one with this number is."""
        return self._key(project, created_s) in self._extra

    def was_registered_within(self, seconds: float, project: int, created_s: int | None = None) -> bool:
        """Return whether the last POST /setup of a project was at most so many seconds ago."""
        registered_at = self._registered_at.get(self._key(project, created_s))
        return registered_at is not None and self._clock() - registered_at <= seconds

    def _key(self, project: int, created_s: int | None) -> ProjectKey:
        newest = self._newest.get(project) if created_s is None else None
        return newest or (project, created_s)

    def configuration(self, project: int, created_s: int | None = None) -> RunConfiguration | None:
        """Return a project's pre-annotation; None if neither its extra parameters nor the settings name one.

        Raises:
            BadRequestError: the extra parameters are not the fields of a run; names the first wrong one.
        """
        given = self._extra_params(project, created_s)
        shape = given.clicks.sam_output or "auto"
        try:
            configuration = RunConfiguration.of_project(project, given.run, self._settings.detector, shape)
            if configuration is not None and "detector" in given.run:
                self.check_names(configuration)
            elif configuration is not None:  # the settings may name a file
                self.check_names(replace(configuration, detector=AUTO))
        except BackendError as error:
            raise BadRequestError(f"could not use the model's extra parameters: {error}") from None
        return None if configuration is None else self.resolved(configuration)

    def text_problem(self, configuration: RunConfiguration, config: LabelingConfig) -> str | None:
        """Return why the words of a project's extra parameters cannot be used; None if they can."""
        if not configuration.text:
            return None
        try:
            detector_of(configuration, self._settings, self._store)
            LabelMapping.of(config, [words.text for words in configuration.words], configuration)
        except BadRequestError as error:
            return f"could not use the model's extra parameters: text: {str(error).removeprefix('text: ')}"
        return None

    def text_configuration(self, project: int | None, created_s: int | None = None) -> RunConfiguration:
        """Return the shape, thresholds and limits for words: those of the project's pre-annotation.

        Raises:
            BadRequestError: as `configuration`.
        """
        found = None if project is None else self.configuration(project, created_s)
        if found is not None:
            return found
        shape = self.click_options(project, created_s).sam_output or "auto"
        return RunConfiguration(project or 1, shape=shape)

    def chosen_detector(self, project: int | None, created_s: int | None = None) -> str | None:
        """Return the detector that a project's extra parameters name; None if they name none.

        Raises:
            BadRequestError: the extra parameters cannot be used.
        """
        named = None if project is None else self._extra_params(project, created_s).run.get("detector")
        return None if named is None else str(named).strip()

    def detector_names(self) -> tuple[str, ...]:
        """Return the names that a request may use for its detector."""
        return detector_choices(self._settings, self._store)

    def check_names(self, configuration: RunConfiguration) -> None:
        """Refuse what a request may not choose: paths of files, and the address of a Ray cluster.

        Raises:
            BadRequestError: names the field and the known values.
        """
        for field, value, known in (
            ("detector", configuration.detector, (AUTO, *self.detector_names())),
            ("proposals", configuration.proposals, (SEGMENTER, *self.detector_names())),
            ("model", configuration.model, ("auto", *SEGMENTER_NAMES)),
        ):
            if value not in known:
                raise BadRequestError(f"{field}={shown(value)} is not one of {', '.join(known)}")
        if configuration.ray_address is not None:
            raise BadRequestError("ray_address is for the command line only")

    def click_options(self, project: int | None, created_s: int | None = None) -> ClickOptions:
        """Return how a project's clicks are answered: by its extra parameters, otherwise by the settings.

        Extra parameters that cannot be used are left out: `problem` has the reason since POST /setup. A model that is
        not one of SAM_MODELS counts for the project's runs only.
        """
        if project is not None:
            with suppress(BadRequestError):
                options = self._extra_params(project, created_s).clicks
                return options if options.model in self._models.names_for_projects else replace(options, model="auto")
        return click_options_of(self._settings)

    def _extra_params(self, project: int, created_s: int | None) -> ExtraParams:
        stored = self._extra.get(self._key(project, created_s)) or b""
        try:
            return ExtraParams.from_json(stored, RUN_FIELDS, click_options_of(self._settings))
        except BadRequestError as error:
            raise BadRequestError(f"could not use the model's extra parameters: {error}") from None

    def resolved(self, configuration: RunConfiguration) -> RunConfiguration:
        """Return the configuration with the service's own model in place of `auto`.

        A run then uses the model that answers clicks. If that is the weights file of the settings, `auto` stays: the
        run's process has the same settings.
        """
        name = self._models.default.name
        is_open = configuration.model == "auto" and (self._settings.model == "auto" or name in SEGMENTER_NAMES)
        return configuration.with_model(name) if is_open else configuration

    def shared_segmenter(self, configuration: RunConfiguration) -> Segmenter[Any] | None:
        """Return the segmenter that answers clicks if the configuration names it; otherwise None.

        Raises:
            ModelNotReadyError: it is still loading, or could not be loaded.
        """
        default = self._models.default
        return default.segmenter(self._settings.model_wait_s) if _is_of(configuration, default) else None

    def version(self, configuration: RunConfiguration) -> str:
        """Return the model version of a configuration's predictions; may hash a file or import a library.

        Raises:
            BadRequestError: no such model, detector or file.
        """
        model = self._models.default
        own = own_detectors(self._settings, self._store).get(configuration.detector)
        modified_ns = own.stat().st_mtime_ns if own is not None else 0  # a file may be replaced
        fields = json.dumps([configuration.to_json() | {"project": 0, "filter": None}, model.version, modified_ns])
        key = hashlib.sha256(fields.encode()).digest()
        known = self._versions.get(key)
        if known is None:
            if _is_of(configuration, model):
                known = version_with(configuration, model.name, model.version, self._settings, self._store)
            else:
                known = preannotation_version(configuration, self._settings, self._store)
            self._versions.put(key, known, len(known) + _ENTRY_BYTES)
        return known

    def version_for_setup(self, project: int, created_s: int | None = None) -> str:
        """Return the answer to POST /setup: the pre-annotation's version, otherwise the model's own.

        Takes at most `VERSION_TIMEOUT_S`.
        """
        try:
            configuration = self.configuration(project, created_s)
        except BackendError as error:
            self.note_problem(project, str(error)[:1000])
            configuration = None
        if configuration is None:
            return self._models.version(self.click_options(project, created_s).model)
        return _within(VERSION_TIMEOUT_S, lambda: self.version(configuration)) or self._models.version()


def _is_of(configuration: RunConfiguration, model: ModelLoading) -> bool:
    return configuration.model in ("auto", model.name)


def click_options_of(settings: Settings) -> ClickOptions:
    """Return how clicks are answered in a project without extra parameters."""
    return ClickOptions(each_point_an_object=settings.each_point_an_object, refine_regions=settings.refine_regions)


def created_seconds(created_at: object) -> int | None:
    """Return a creation time of Label Studio's API in whole seconds since 1970; None if it is not a time."""
    try:
        return int(datetime.fromisoformat(str(created_at)).timestamp())
    except (ValueError, OverflowError):
        return None


def _within(timeout_s: float, compute: Callable[[], str]) -> str | None:
    """Return the result; None if `compute` fails or takes longer. Its thread then continues."""
    found: list[str] = []

    def run() -> None:
        try:
            found.append(compute())
        except BackendError as error:
            logger.warning("could not compute the model version: %s", error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else None
