"""The backend as a child process, as `label-studio-sam serve` starts it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sam_backend.demo.child_process import ChildProcess

START_TIMEOUT_S = 600.0  # 41 MB of weights may have to come first


def start_backend(
    port: int, label_studio_url: str, api_key: str, log: Path, settings: Mapping[str, str] | None = None
) -> ChildProcess:
    """Start the backend on 127.0.0.1:`port`; `settings` are variables such as SAM_MODEL, above the environment's."""
    environment = dict(os.environ) | {
        "LABEL_STUDIO_URL": label_studio_url,
        "LABEL_STUDIO_API_KEY": api_key,
        "PYTHONUNBUFFERED": "1",
        **(settings or {}),
    }
    command = [sys.executable, "-m", "sam_backend.commands.main", "serve", "--host", "127.0.0.1", "--port", str(port)]
    return ChildProcess("the backend", command, environment, log)


def backend_url(port: int) -> str:
    """Return the backend's URL."""
    return f"http://127.0.0.1:{port}"
