"""An empty Label Studio database with all migrations applied: a first start takes 6 s with it, 50 s without."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_backend.demo.label_studio_process import DATABASE, label_studio_environment

FIND_LABEL_STUDIO = "import label_studio; print(label_studio.__version__, label_studio.__path__[0])"


def copy_migrated_database(program: Path, directory: Path) -> None:
    """Put the database of the Label Studio `program` into `directory`, which is to be its data folder.

    The database is made by Label Studio's own migrations, once for each installation and version, and kept beside the
    program. A program outside a virtual environment is left to migrate at its start.
    """
    python = program.with_name("python")
    if not python.exists() or not os.access(program.parent, os.W_OK):
        return
    found = subprocess.run([python, "-c", FIND_LABEL_STUDIO], capture_output=True, text=True, check=True)
    version, package = found.stdout.strip().split(" ", 1)
    template = program.parent.parent / f"migrated-{version}.sqlite3"
    with template.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held by one test process while it makes the database
        if not template.exists():
            _migrate(python, package, template)
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, directory / DATABASE)


def _migrate(python: Path, package: str, template: Path) -> None:
    with TemporaryDirectory() as folder:
        environment = label_studio_environment(Path(folder))
        environment["PYTHONPATH"] += os.pathsep + package  # as the program `label-studio` does
        command = [python, "-m", "django", "migrate", "--verbosity", "0"]
        subprocess.run(command, env=environment, capture_output=True, check=True)
        unfinished = template.with_suffix(".new")
        shutil.copyfile(Path(folder) / DATABASE, unfinished)
        unfinished.replace(template)
