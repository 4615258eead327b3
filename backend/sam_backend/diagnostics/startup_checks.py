"""Startup checks: device available, folders writable."""

import os
from pathlib import Path

from sam_backend.settings import SettingsError


def check_device(name: str) -> None:
    """Check that this machine has the device of the settings.

    Raises:
        SettingsError: it has not; names the devices it has and the setting.
    """
    if name in ("auto", "cpu"):
        return
    from sam_model.runtime.torch_runtime import torch_device  # importing PyTorch takes a second; often not needed

    try:
        torch_device(name)
    except ValueError as error:
        raise SettingsError(
            f"SAM_DEVICE: {error}. SAM_DEVICE=auto selects the fastest device of this machine; a container needs the "
            "host's GPU driver, the NVIDIA Container Toolkit, and the profile gpu"
        ) from None


def check_folder(variable: str, folder: Path | None) -> None:
    """Check that the folder of a setting exists or can be created, and is writable.

    Raises:
        SettingsError: it is not; names the user and the fix.
    """
    if folder is not None and not is_writable(folder):
        raise SettingsError(
            f"{variable}={folder} is not writable for user {os.getuid()}: change its owner "
            f"(chown -R {os.getuid()} {folder}), or set {variable} to another folder"
        )


def is_writable(folder: Path) -> bool:
    """Return whether files can be created in `folder`; create it if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
