"""Label Studio with the environment that the compose file gives it, without a Docker engine."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_backend.demo.child_process import ChildProcess
from sam_backend.demo.label_studio_process import find_label_studio, label_studio_url
from sam_backend.demo.login import Login

ROOT = Path(__file__).parents[2]
POSTGRES = ("LABEL_STUDIO_DATABASE", "POSTGRES_PASSWORD")


def compose_environment(service: str, given: dict[str, str]) -> dict[str, str]:
    """Return the environment variables that the compose file sets for a service, with ${...} filled in from `given`."""
    import yaml

    found = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"][service]["environment"]
    return {name: _filled_in(str(value), given) for name, value in found.items()}


def _filled_in(value: str, given: dict[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        name, sign, rest = match.groups()
        if sign == ":?" and not given.get(name):
            raise SystemExit(f"{name}: {rest}")
        return given.get(name) or rest

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", one, value)


@contextmanager
def composed_label_studio(port: int, token: str, backend: str, host: str | None = None) -> Iterator[Login]:
    """Start Label Studio of .venv-labelstudio with the compose file's environment, and create its first user.

    Args:
        port: where it listens on this machine.
        token: the first user's.
        backend: address of the backend, for the Data Manager's action.
        host: where browsers find it; None: at the port.
    """
    login = Login("check@example.org", "only-for-the-check", token)
    url = label_studio_url(port)
    given = {"LABEL_STUDIO_USERNAME": login.email, "LABEL_STUDIO_PASSWORD": login.password}
    given |= {"LABEL_STUDIO_API_KEY": token, "LABEL_STUDIO_HOST": host or url}
    given |= {name: os.environ[name] for name in POSTGRES if name in os.environ}
    with TemporaryDirectory() as folder:
        environment = compose_environment("label-studio", given)
        apps = Path(folder) / "apps"
        apps.mkdir()
        (apps / "label_studio_action").symlink_to(ROOT / "backend/label_studio_action", target_is_directory=True)
        environment |= {"LABEL_STUDIO_BASE_DATA_DIR": folder, "PYTHONPATH": str(apps), "SAM_BACKEND_URL": backend}
        environment |= {"PATH": "/usr/bin:/bin", "HOME": folder, "NO_PROXY": "localhost,127.0.0.1"}
        if "POSTGRES_HOST" in os.environ:
            environment["POSTGRE_HOST"] = os.environ["POSTGRES_HOST"]
        program = [str(find_label_studio()), "start", "--no-browser", "--internal-host", "127.0.0.1"]
        log = Path(folder) / "log"
        with ChildProcess("Label Studio", [*program, "--port", str(port)], environment, log) as running:
            running.wait_for(f"{url}/health", 300, lambda waited_s: None)
            yield login
