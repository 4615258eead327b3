"""The editor and the backend's page behind nginx with TLS and path prefixes, configured by docker/nginx.conf."""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.end_to_end.test_page import save_screenshot

from sam_backend.demo.child_process import ChildProcess, free_port
from sam_backend.demo.label_studio_process import label_studio_url
from sam_backend.demo.user_actions import create_project, import_files, tasks_of_project
from sam_backend.label_studio.backend_registration import connect
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.annotations import annotations_of_task
from sam_testing.backend_program import BackendProgram
from sam_testing.composed_label_studio import composed_label_studio
from sam_testing.editor import WAIT_MS, Editor
from sam_testing.possible import not_possible

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(280)]

PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()
FLOWER = Path("examples/photos/flower.jpg")


@pytest.fixture
def nginx() -> str:
    path = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        not_possible("no nginx: `apt-get install nginx-light`")
    return path


@contextmanager
def proxy(nginx: str, folder: Path, port: int, label_studio_port: int, backend_port: int) -> Iterator[None]:
    """Start nginx with the example's configuration, with ports and certificate replaced."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = Path("docker/nginx.conf").read_text()
    for there, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("example.org;", "localhost;"),
        ("/etc/ssl/certs/example.org.pem", str(certificate)),
        ("/etc/ssl/private/example.org.key", str(key)),
        ("127.0.0.1:8080", f"127.0.0.1:{label_studio_port}"),
        ("127.0.0.1:9090", f"127.0.0.1:{backend_port}"),
    ):
        assert there in server
        server = server.replace(there, here)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    http = f"access_log {folder}/access.log;\n{temporary}{server}"
    user = "user root;\n" if os.getuid() == 0 else ""  # else its workers cannot enter the test's folder
    (folder / "nginx.conf").write_text(f"{user}daemon off;\npid {folder}/pid;\nevents {{}}\nhttp {{\n{http}}}\n")
    command = [nginx, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with ChildProcess("nginx", command, dict(os.environ), folder / "log"):
        yield


def test_a_click_and_the_page_behind_tls_and_path_prefixes(browser: Browser, nginx: str, tmp_path: Path) -> None:
    port, label_studio_port, token = free_port(0), free_port(0), secrets.token_hex(20)
    outside = f"https://localhost:{port}"
    inside = label_studio_url(label_studio_port)
    backend = BackendProgram(
        tmp_path / "log", SAM_RUNS_DIR=str(tmp_path / "runs"), LABEL_STUDIO_URL=inside, LABEL_STUDIO_API_KEY=token
    )
    url = f"http://127.0.0.1:{backend.port}"
    errors: list[str] = []
    try:
        with (
            composed_label_studio(label_studio_port, token, url, f"{outside}/label-studio") as login,
            proxy(nginx, tmp_path, port, label_studio_port, backend.port),
            browser.new_context(ignore_https_errors=True, viewport={"width": 1400, "height": 800}) as context,
        ):
            api = LabelStudioClient(LabelStudioCredentials(inside, token))
            project = create_project(api, "Behind a proxy", PALETTE).id
            import_files(api, project, [FLOWER])
            connect(api, project, url, "label-studio-sam")
            context.set_default_timeout(WAIT_MS)
            editor = Editor(context.new_page(), f"{outside}/label-studio", login)
            editor.log_in()
            editor.open_task(project, tasks_of_project(api, project)[0].id)
            editor.take_point("Plant")
            editor.click(40, 35)
            expect(editor.suggestions).to_have_text("1 suggestions")
            editor.accept()
            editor.submit()
            (annotation,) = annotations_of_task(api, tasks_of_project(api, project)[0].id)

            page = context.new_page()
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto(f"{outside}/sam/")
            expect(page.get_by_label("Project")).to_contain_text("Behind a proxy")
            save_screenshot(page, "behind_proxy.png")
    finally:
        backend.stop()

    kinds: list[Any] = sorted({region["type"] for region in annotation.result})
    assert kinds == ["brush", "labels"]
    assert errors == []
    asked = {re.split(r"[/?]", line.split('"')[1])[1] for line in (tmp_path / "access.log").read_text().splitlines()}
    assert {"label-studio", "sam"} <= asked
