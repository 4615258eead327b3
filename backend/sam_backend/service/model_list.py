"""The segmenters that the page lists: download one, or use it from now on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam_backend.errors import BackendError
from sam_backend.protocol.fields import shown
from sam_backend.segmenter.choice import SEGMENTER_NAMES, choose_model
from sam_backend.segmenter.downloads import Downloads
from sam_backend.segmenter.models import Models, Switch
from sam_backend.segmenter.saved_choice import save_model
from sam_backend.settings import Settings
from sam_model.benchmark.recorded_speeds import recorded_speed
from sam_model.weights.catalog import CATALOG, WeightFile
from sam_model.weights.download import Progress
from sam_model.weights.folder_store import folder_presence
from sam_model.weights.folders import FOLDERS, WeightFolder
from sam_model.weights.store import Presence, WeightStore


class UnknownModelError(BackendError):
    """No segmenter has this name."""

    status = 404


class ModelList:
    """The segmenters of the catalogue, the classical one, and the file that SAM_MODEL names."""

    def __init__(self, settings: Settings, store: WeightStore, models: Models) -> None:
        self._settings, self._store, self._models = settings, store, models
        self._downloads = Downloads(store)
        self._save_problem = ""

    def to_json(self) -> dict[str, Any]:
        """Return the answer to GET /api/models."""
        default, switch = self._models.default, self._models.switch
        return {
            "models": [*self._rows()],
            "default": {"name": default.name, "version": default.version, "reason": default.reason},
            "switch": None if switch is None else _switch_to_json(switch) | {"warning": self._save_problem},
            "setting": self._settings.model,
        }

    def download(self, name: str) -> None:
        """Start the download of a model's weights; return at once.

        Raises:
            UnknownModelError: no segmenter with weights has this name.
        """
        known: list[WeightFile | WeightFolder] = [*_files(), *_folders()]
        weights = next((each for each in known if each.model == name), None)
        if weights is None:
            raise UnknownModelError(f"could not download {shown(name)}: no segmenter with weights has this name")
        self._downloads.start(weights)

    def use(self, name: str) -> None:
        """Use a model for clicks as soon as it is loaded, in place of the present one; return at once.

        Raises:
            UnknownModelError: no segmenter has this name.
            SwitchRunningError: another switch is running.
        """
        own = self._own_name()
        if name not in SEGMENTER_NAMES and name != own:
            raise UnknownModelError(f"could not use {shown(name)}: no segmenter has this name")
        named = self._settings.model if name == own else name
        settings = replace(self._settings, model=named)

        def save() -> None:
            self._save_problem = save_model(self._settings, None if named == self._settings.model else name)

        self._models.switch_to(name, lambda: choose_model(settings, self._store), save)

    def _rows(self) -> Iterator[dict[str, Any]]:
        own = self._own_name()
        if own is not None:
            yield self._row(own, Path(self._settings.model).name, "", Presence.PRESENT, 0)
        for weights in _files():
            status = self._store.status(weights)
            size = weights.size or (status.bytes_here if status.presence is Presence.PRESENT else 0)
            yield self._row(weights.model, weights.file, weights.licence, status.presence, size)
        for folder in _folders():
            presence = folder_presence(self._store, folder)
            yield self._row(folder.model, f"{folder.model}/", folder.licence, presence, 0) | {
                "is_gated": folder.is_gated
            }
        yield self._row("classical", "", "Apache-2.0", Presence.PRESENT, 0)

    def _row(self, name: str, file: str, licence: str, presence: Presence, size: int) -> dict[str, Any]:
        download = self._downloads.of(name)
        speeds = {runtime: recorded_speed(name, runtime) for runtime in ("torch", "openvino")}
        running = download.progress if download is not None and download.is_running else None
        switch = self._models.switch
        if switch is not None and switch.name == name and switch.download is not None:
            running = switch.download
        return {
            "name": name,
            "file": file,
            "licence": licence,
            "bytes": size,
            "presence": presence.value,
            "is_gated": False,
            "is_default": name == self._models.default.name,
            "is_for_projects": name in self._models.names_for_projects,
            "is_loaded": name == self._models.default.name or name in self._models.loaded_names,
            "is_downloading": running is not None or (download is not None and download.is_running),
            "progress": None if running is None else _progress_to_json(running),
            "problem": "" if download is None else download.problem,
            "embedding_time": {runtime: speed.embed_ratio for runtime, speed in speeds.items() if speed is not None},
        }

    def _own_name(self) -> str | None:
        """Return the name of the file or folder that SAM_MODEL names; None if it names a model."""
        setting = self._settings.model
        if setting in ("auto", *SEGMENTER_NAMES) or any(setting in weights.names for weights in CATALOG):
            return None
        return Path(setting).name if Path(setting).expanduser().is_dir() else Path(setting).stem


def _files() -> list[WeightFile]:
    return [weights for weights in CATALOG if weights.role == "segmenter"]


def _folders() -> list[WeightFolder]:
    return [folder for folder in FOLDERS if folder.segments]


def _switch_to_json(switch: Switch) -> dict[str, Any]:
    download = switch.download
    return {
        "name": switch.name,
        "state": switch.state,
        "problem": switch.problem,
        "progress": None if download is None else _progress_to_json(download),
    }


def _progress_to_json(progress: Progress) -> dict[str, int]:
    return {"bytes": progress.done, "total": progress.total}
