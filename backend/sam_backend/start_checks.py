"""What would make a service useless is said before its port opens: a device that is not there, a folder kept shut."""

import os
from pathlib import Path

from sam_backend.settings import SettingsError


def check_device(name: str) -> None:
    """See that the device of the settings is one of this machine's.

    Raises:
        SettingsError: it is not; the message says what is there and what to set.
    """
    if name in ("auto", "cpu"):
        return
    from sam_model.runtime.torch_runtime import torch_device  # PyTorch takes a second, and is often not asked for

    try:
        torch_device(name)
    except ValueError as error:
        raise SettingsError(
            f"SAM_DEVICE: {error}. SAM_DEVICE=auto takes the best that is here; in a container a GPU takes its driver "
            "on the host, the NVIDIA Container Toolkit, and the profile gpu"
        ) from None


def check_runs_folder(folder: Path) -> None:
    """See that the folder of the runs can be made and written.

    Raises:
        SettingsError: it cannot; the message says for whom, and what helps.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        raise SettingsError(
            f"SAM_RUNS_DIR={folder} cannot be written by user {os.getuid()}: give it that folder "
            f"(chown -R {os.getuid()} {folder}), or set SAM_RUNS_DIR to another one"
        )
