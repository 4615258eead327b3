"""Models that are folders of several files, in the folder of weights."""

import logging
from pathlib import Path

from sam_model.weights.download import OnProgress
from sam_model.weights.errors import WeightsUnavailableError
from sam_model.weights.folders import NEEDED, OPTIONAL, WeightFolder
from sam_model.weights.store import PERMISSIVE, Presence, WeightStore

logger = logging.getLogger(__name__)


def folder_path(store: WeightStore, folder: WeightFolder) -> Path:
    """Return the path of the folder, which may not exist yet."""
    return store.directory.expanduser() / folder.model


def folder_presence(store: WeightStore, folder: WeightFolder) -> Presence:
    """Return whether the folder exists, without reading its files."""
    found = {store.status(folder.file(name)).presence for name in NEEDED}
    if found == {Presence.PRESENT}:
        return Presence.PRESENT
    return Presence.PARTIAL if folder_path(store, folder).is_dir() else Presence.MISSING


def fetch_folder(store: WeightStore, folder: WeightFolder, on_progress: OnProgress | None = None) -> Path:
    """Return the path of a complete folder; download what is missing.

    Raises:
        WeightsUnavailableError: a file is missing and cannot be downloaded.
        BrokenWeightsError: a file has another hash than when it was downloaded.
    """
    path = folder_path(store, folder)
    if store.is_offline:
        for name in NEEDED:  # the others are not needed by each model, so a missing one of them is no error
            if not (path / name).is_file():
                store.fetch(folder.file(name))
    if folder_presence(store, folder) is not Presence.PRESENT:
        logger.warning(
            "no hash of %s is recorded: its files cannot be compared with one; their hashes are stored beside them in "
            "FILE.sha256 and checked from then on",
            folder.model,
        )
        if folder.licence != PERMISSIVE:
            logger.warning("%s is licensed under the %s", folder.model, folder.licence)
        for name in OPTIONAL:
            try:
                store.fetch(folder.file(name), on_progress)
            except WeightsUnavailableError as error:
                if error.status != 404:
                    raise
        for name in NEEDED:
            store.fetch(folder.file(name), on_progress)
        return path
    for name in (*OPTIONAL, *NEEDED):
        if (path / name).is_file():
            store.verify(folder.file(name), use_record=True)
    return path
