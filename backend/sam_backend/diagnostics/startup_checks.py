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


def check_folder(variable: str, folder: Path | None) -> None:
    """See that a folder that a variable names can be made and written.

    Raises:
        SettingsError: it cannot; the message says for whom, and what helps.
    """
    if folder is not None and not is_writable(folder):
        raise SettingsError(
            f"{variable}={folder} cannot be written by user {os.getuid()}: give it that folder "
            f"(chown -R {os.getuid()} {folder}), or set {variable} to another one"
        )


def is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
