"""A real Label Studio for tests and benchmarks, in a separate folder, with a user and a token."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_backend.demo.child_process import ChildProcess, free_port
from sam_backend.demo.label_studio_process import find_label_studio, label_studio_url, start_label_studio
from sam_backend.demo.login import load_or_make_login
from sam_backend.demo.user_actions import create_personal_access_token, create_project
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.fake_label_studio import CONFIG
from sam_testing.migrated_database import copy_migrated_database


@contextmanager
def real_label_studio() -> Iterator[tuple[str, str]]:
    """URL and personal access token of a Label Studio."""
    with TemporaryDirectory() as folder:
        login = load_or_make_login(Path(folder) / "login.json")
        port = free_port(0)
        url = label_studio_url(port)
        data, log = Path(folder) / "data", Path(folder) / "log"
        copy_migrated_database(find_label_studio(), data)
        with start_label_studio(find_label_studio(), data, port, login.email, login.password, log) as program:
            program.wait_for(f"{url}/health", 300, lambda waited_s: None)
            yield url, create_personal_access_token(url, login.email, login.password)


class RestartableLabelStudio:
    """A real Label Studio that can be stopped and started again with the same data and address."""

    def __init__(self, command: Path, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Start Label Studio and create a token; `settings` are its environment variables."""
        self._command, self._folder, self._port, self._settings = command, folder, free_port(0), settings
        self._login = load_or_make_login(folder / "login.json")
        self.url = label_studio_url(self._port)
        self._running: ChildProcess | None = None
        copy_migrated_database(command, folder / "data")
        self.start()
        self.token = create_personal_access_token(self.url, self._login.email, self._login.password)
        self.api = LabelStudioClient(LabelStudioCredentials(self.url, self.token))

    def start(self, *, waits: bool = True) -> None:
        """Start Label Studio and, by default, wait until it answers."""
        data, login = self._folder / "data", self._login
        self._running = start_label_studio(
            self._command, data, self._port, login.email, login.password, self._folder / "log", self._settings
        )
        if waits:
            self._running.wait_for(f"{self.url}/health", 240, lambda waited_s: None)

    def stop(self) -> None:
        """Stop Label Studio's processes; the data are kept."""
        if self._running is not None:
            self._running.stop()


def project_with_images(url: str, token: str, images: list[str], tasks: int) -> int:
    """Create a project with `tasks` tasks, to which the images (URLs or data URLs) are assigned in turn."""
    api = LabelStudioClient(LabelStudioCredentials(url, token))
    project = create_project(api, "Benchmark", CONFIG)
    for first in range(0, tasks, 100):
        some = [{"data": {"image": images[i % len(images)]}} for i in range(first, min(first + 100, tasks))]
        api.call("POST", f"/api/projects/{project.id}/import", some)
    return project.id
