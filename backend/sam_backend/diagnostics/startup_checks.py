"""Startup checks: device available, folders writable, weights readable."""

import os
from pathlib import Path

from sam_backend.settings import SettingsError
from sam_model.runtime.probe import find_runtime


def check_device(name: str) -> None:
    """Check that this machine has the device of the settings.

    Raises:
        SettingsError: it has not; names the devices it has and the setting.
    """
    if name in ("auto", "cpu"):
        return
    try:
        find_runtime("torch", name, "auto")
    except ValueError as error:
        raise SettingsError(
            f"SAM_DEVICE: {error}. set SAM_DEVICE=auto for the fastest device of this machine; a container needs the "
            "host's GPU driver and the NVIDIA Container Toolkit, or the CPU image (COMPOSE_PROFILES=cpu)"
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


def check_weights_folder(folder: Path, *, is_offline: bool) -> None:
    """Check that the folder of weights is readable, and writable unless `is_offline`; it may be missing.

    Raises:
        SettingsError: it is not; names the user and the fix.
    """
    folder = folder.expanduser()
    if not folder.exists():
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        raise SettingsError(
            f"SAM_WEIGHTS_DIR={folder} is not readable for user {os.getuid()}: change its permissions, or set "
            "SAM_WEIGHTS_DIR to another folder"
        )
    if not is_offline and not is_writable(folder):
        raise SettingsError(
            f"SAM_WEIGHTS_DIR={folder} is not writable for user {os.getuid()}: change its owner "
            f"(chown -R {os.getuid()} {folder}), or set SAM_OFFLINE=1"
        )


def is_writable(folder: Path) -> bool:
    """Return whether files can be created in `folder`; create it if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
