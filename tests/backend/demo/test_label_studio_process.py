import time
from pathlib import Path

from sam_backend.demo.label_studio_process import start_label_studio


def key_of_a_start(folder: Path) -> str:
    """Start a program that prints its key in place of Label Studio."""
    program = folder / "program"
    program.write_text('#!/bin/sh\nprintf %s "$SECRET_KEY"\n')
    program.chmod(0o700)
    log = folder / "log"
    log.unlink(missing_ok=True)
    with start_label_studio(program, folder / "data", 1, "a@example.org", "password", log) as process:
        while process.is_running:
            time.sleep(0.01)
    return log.read_text()


def test_each_start_has_the_same_secret_key(tmp_path: Path) -> None:
    first, second = key_of_a_start(tmp_path), key_of_a_start(tmp_path)

    assert len(first) > 40
    assert second == first
    assert (tmp_path / "data/secret_key").stat().st_mode & 0o077 == 0


def test_the_key_that_label_studio_has_stored_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/.env").write_text("SECRET_KEY=stored")

    assert key_of_a_start(tmp_path) == ""
