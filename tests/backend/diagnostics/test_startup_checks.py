from pathlib import Path

import pytest

from sam_backend.diagnostics.startup_checks import check_weights_folder
from sam_backend.settings import SettingsError


def test_a_weights_folder_that_is_missing_or_writable_passes(tmp_path: Path) -> None:
    check_weights_folder(tmp_path / "missing", is_offline=False)
    check_weights_folder(tmp_path, is_offline=False)


def test_a_weights_folder_that_cannot_be_read_names_the_setting_and_the_user(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.touch(0o600)  # a file: root may read any folder

    with pytest.raises(SettingsError, match=r"SAM_WEIGHTS_DIR=.*weights is not readable for user \d+"):
        check_weights_folder(file, is_offline=True)


def test_a_weights_folder_that_cannot_be_written_is_accepted_offline_only(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.touch(0o700)

    check_weights_folder(file, is_offline=True)
    with pytest.raises(SettingsError, match="SAM_OFFLINE=1"):
        check_weights_folder(file, is_offline=False)
