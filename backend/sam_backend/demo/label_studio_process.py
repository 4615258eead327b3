"""A local Label Studio: SQLite, one folder, one user, no telemetry."""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from sam_backend.demo.child_process import ChildProcess

ACTION = Path(__file__).parents[2] / "label_studio_action"  # a Django app, beside our package
DATABASE = "label_studio.sqlite3"  # in the folder of the data
FIRST_START_TIMEOUT_S = 600.0  # it makes its database first; 20 s here, minutes on a slow disk

# What Label Studio reads from the environment (core/settings/base.py of 1.23.2), any name with or without LABEL_STUDIO_
SETTINGS = {
    # A backend on localhost is refused by default (SSRF protection). This empties the list of refused networks.
    # ML_BLOCK_LOCAL_IP=false alone is not enough: the webhook that comes with each backend is checked as well.
    "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_DJANGO_DB": "sqlite",
    "LABEL_STUDIO_LOG_LEVEL": "INFO",
    "NO_PROXY": "localhost,127.0.0.1",  # its calls to the backend stay on this machine
    "no_proxy": "localhost,127.0.0.1",
    "PYTHONUNBUFFERED": "1",
}


class LabelStudioMissingError(Exception):
    """Label Studio is not installed; the message names the searched places."""


def find_label_studio() -> Path:
    """The program `label-studio`: of .venv-labelstudio in the working folder, else of the PATH.

    Raises:
        LabelStudioMissingError: neither.
    """
    own = Path(".venv-labelstudio/bin/label-studio").absolute()
    if own.exists():
        return own
    on_path = shutil.which("label-studio")
    if on_path is None:
        raise LabelStudioMissingError(f"Label Studio is neither at {own} nor on the PATH: run `make labelstudio`")
    return Path(on_path)


def start_label_studio(
    program: Path,
    directory: Path,
    port: int,
    email: str,
    password: str,
    log: Path,
    settings: Mapping[str, str] | None = None,
) -> ChildProcess:
    """Start Label Studio on 127.0.0.1:`port` with its data in `directory`; create the user if there is none.

    `settings` are environment variables, which take precedence over ours.
    """
    environment = label_studio_environment(directory) | {
        "LABEL_STUDIO_HOST": label_studio_url(port),
        "LABEL_STUDIO_USERNAME": email,
        "LABEL_STUDIO_PASSWORD": password,  # not an argument: those are shown to everyone by ps
    }
    environment |= settings or {}
    command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    return ChildProcess("Label Studio", command, environment, log)


def label_studio_environment(directory: Path) -> dict[str, str]:
    """Return the environment variables of a Label Studio with its data in `directory`, which is created."""
    directory.mkdir(parents=True, exist_ok=True)
    return {
        **_without_foreign_settings(os.environ),
        **SETTINGS,
        "PYTHONPATH": str(_folder_with_action(directory.absolute())),  # "Pre-annotate with SAM…" in the Data Manager
        "DJANGO_SETTINGS_MODULE": "label_studio_action.settings",
        "LABEL_STUDIO_BASE_DATA_DIR": str(directory.absolute()),
        "LABEL_STUDIO_DATABASE_NAME": str(directory.absolute() / DATABASE),
        **_secret_key(directory),
    }


def _secret_key(directory: Path) -> dict[str, str]:
    """Return the variable with the key that signs tokens, the same at each start.

    Without it, each process of Label Studio 1.23.2's first start may generate a key, and the tokens of the first start
    are invalid after a restart. A folder of an earlier version keeps the key that Label Studio has stored.
    """
    file = directory / "secret_key"
    if not file.exists():
        if (directory / ".env").exists():
            return {}
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as output:
            output.write(secrets.token_urlsafe(40))
    return {"SECRET_KEY": file.read_text()}


def _folder_with_action(directory: Path) -> Path:
    """A folder with nothing but the app in it: Label Studio must not see our own packages beside its own."""
    folder = directory / "apps"
    folder.mkdir(exist_ok=True)
    link = folder / ACTION.name
    if not link.is_symlink() or link.readlink() != ACTION:
        link.unlink(missing_ok=True)
        link.symlink_to(ACTION, target_is_directory=True)
    return folder


def label_studio_url(port: int) -> str:
    """Where the browser finds it."""
    return f"http://localhost:{port}"


def _without_foreign_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to another Label Studio or Django of this user."""
    foreign = ("LABEL_STUDIO_", "HEARTEX_", "DJANGO_", "POSTGRE_", "REDIS_", "SENTRY_", "STORAGE_", "MINIO_")
    return {name: value for name, value in environ.items() if not name.startswith(foreign)}
