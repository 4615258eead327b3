"""A real Label Studio for benchmarks: started in a folder of its own, with a user and a token."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_backend.demo.child_process import free_port
from sam_backend.demo.label_studio_process import find_label_studio, label_studio_url, start_label_studio
from sam_backend.demo.login import load_or_make_login
from sam_backend.demo.user_actions import create_personal_access_token, create_project
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.fake_label_studio import CONFIG


@contextmanager
def real_label_studio() -> Iterator[tuple[str, str]]:
    """Address and personal access token."""
    with TemporaryDirectory() as folder:
        login = load_or_make_login(Path(folder) / "login.json")
        port = free_port(0)
        url = label_studio_url(port)
        log = Path(folder) / "log"
        with start_label_studio(
            find_label_studio(), Path(folder) / "data", port, login.email, login.password, log
        ) as program:
            program.wait_for(f"{url}/health", 300, lambda waited_s: None)
            yield url, create_personal_access_token(url, login.email, login.password)


def project_with_images(url: str, token: str, images: list[str], tasks: int) -> int:
    """A project of `tasks` tasks that take turns with the images, which are addresses or data URLs."""
    api = LabelStudioClient(LabelStudioCredentials(url, token))
    project = create_project(api, "Benchmark", CONFIG)
    for first in range(0, tasks, 100):
        some = [{"data": {"image": images[i % len(images)]}} for i in range(first, min(first + 100, tasks))]
        api.call("POST", f"/api/projects/{project.id}/import", some)
    return project.id
