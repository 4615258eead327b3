"""A label-studio-ml 1.0.9 server with our model, started by `label-studio-ml init` and `start`."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sam_backend.demo.child_process import free_port
from sam_testing.possible import not_possible

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-ml-backend" / "bin" / "label-studio-ml"
EXAMPLE = ROOT / "examples" / "label-studio-ml" / "model.py"

Json = Any


class Server:
    """A running label-studio-ml server with our model; `stop` ends it."""

    def __init__(self, command: list[str], port: int, log: Path, env: dict[str, str]) -> None:
        self.port, self._log = port, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
        end = time.monotonic() + 60
        while True:
            try:
                self.ask("/health")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise AssertionError(self.log) from None
                time.sleep(0.1)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def ask(self, path: str, body: Json = None) -> tuple[int, Json]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def stop(self) -> None:
        """Stop the server and its child processes: `label-studio-ml start` runs Python through a shell."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, 15)
        self._process.wait(20)


def label_studio_ml_server(folder: Path, settings: dict[str, str]) -> Server:
    """Start label-studio-ml 1.0.9 of `make mlbackend` with the environment variables `settings`.

    Skip the test (in CI: fail it) if it is not installed.
    """
    if not PROGRAM.exists():
        not_possible("no .venv-ml-backend: make mlbackend")
    env = settings | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}  # `start` calls the `python` of the PATH
    place = ["my_backend", "--root-dir", str(folder)]
    init = [str(PROGRAM), "init", *place, "--script", f"{EXAMPLE}:SegmentAnything"]
    subprocess.run(init, env=env, check=True, capture_output=True, timeout=60)
    port = free_port(0)
    start = [str(PROGRAM), "start", *place, "--host", "127.0.0.1", "--port", str(port)]
    return Server(start, port, folder / "log", env)
