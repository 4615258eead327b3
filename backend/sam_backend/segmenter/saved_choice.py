"""The model that was chosen on the page, in a file beside the weights, so that a restart keeps it.

The file counts only while SAM_MODEL has the value that it had when the model was chosen.
"""

import json
import logging
from pathlib import Path
from typing import Any

from sam_backend.settings import Settings
from sam_model.annotation.atomic_file import write_atomically

logger = logging.getLogger(__name__)

FILE = "model-in-use.json"


def saved_model(settings: Settings) -> str | None:
    """Return the name of the chosen model; None if none was chosen, or if SAM_MODEL has changed since."""
    try:
        found: Any = json.loads(_path(settings).read_text())
        name, setting = found["model"], found["SAM_MODEL"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        logger.warning("could not read %s: %s; SAM_MODEL counts", FILE, error)
        return None
    return name if isinstance(name, str) and setting == settings.model else None


def save_model(settings: Settings, name: str | None) -> str:
    """Keep the choice of a model, or with None the one of SAM_MODEL; return why that failed, empty if it did not."""
    path = _path(settings)
    try:
        if name is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, json.dumps({"model": name, "SAM_MODEL": settings.model}).encode())
    except OSError as error:
        logger.warning("could not write %s: %s; a restart uses SAM_MODEL again", FILE, error.strerror)
        return f"could not write {FILE} into SAM_WEIGHTS_DIR: {error.strerror}; a restart uses SAM_MODEL again"
    return ""


def _path(settings: Settings) -> Path:
    return settings.weights_dir.expanduser() / FILE
