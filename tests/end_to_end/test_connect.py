"""`label-studio-sam connect` and the real Label Studio: one that allows private addresses, and one that does not."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.end_to_end.conftest import Services

from sam_backend.demo import label_studio_process
from sam_backend.demo.child_process import free_port
from sam_backend.demo.label_studio_process import label_studio_url, start_label_studio
from sam_backend.demo.login import load_or_make_login
from sam_backend.demo.user_actions import (
    create_personal_access_token,
    create_project,
    import_files,
    interactive_prediction,
    tasks_of_project,
)
from sam_backend.label_studio.backend_registration import registrations
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.webhook_secret import HEADER, webhook_secret
from sam_testing.backend_program import BackendProgram
from sam_testing.migrated_database import copy_migrated_database

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]

PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()
RECTANGLES = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image"><Label value="Cat"/></RectangleLabels>
</View>"""


def connect(url: str, token: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": token, **more}
    command = [sys.executable, "-m", "sam_backend.commands.main", "connect", *arguments]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=100, check=False)


def test_a_project_is_connected_once_and_its_config_completed(services: Services) -> None:
    project = create_project(services.api, "To be connected", RECTANGLES).id
    asked = ["--project", str(project), "--url", services.backend_url]

    first = connect(services.url, services.token, *asked)
    second = connect(services.url, services.token, *asked, "--fix-config", "--extra-params", '{"detector": "boxes"}')
    third = connect(services.url, services.token, *asked, "--json")

    assert first.returncode == 0, first.stderr
    assert "connected: project" in first.stdout
    assert "lacks <KeyPoint>" in first.stdout
    assert "added <KeyPoint>" in second.stdout
    answer = json.loads(third.stdout)
    assert (answer["is_new"], answer["missing_tags"]) == (False, [])
    (entry,) = services.api.call("GET", "/api/ml/", query={"project": project})
    assert entry["is_interactive"] is True
    assert entry["extra_params"] == {"detector": "boxes"}


def test_a_backend_behind_a_password_is_connected_with_it_and_answers(services: Services, tmp_path: Path) -> None:
    secret = {"SAM_BASIC_AUTH_USER": "annotator", "SAM_BASIC_AUTH_PASSWORD": "not-for-strangers"}
    access = {"LABEL_STUDIO_URL": services.url, "LABEL_STUDIO_API_KEY": services.token}
    imports = {"SAM_PREANNOTATE_ON_IMPORT": "true", "SAM_DETECTOR": "boxes"}
    backend = BackendProgram(tmp_path / "log", SAM_RUNS_DIR=str(tmp_path / "runs"), **access, **secret, **imports)
    url = f"http://127.0.0.1:{backend.port}"
    photo = Path("examples/photos/flower.jpg")
    project, task = services.new_task("Behind a password", PALETTE, photo)
    basic = "Basic " + base64.b64encode(b"annotator:not-for-strangers").decode()
    asked = ["--project", str(project), "--url", url]
    try:
        without = connect(services.url, services.token, *asked)
        with_it = connect(services.url, services.token, *asked, **secret)
        (entry,) = [one for one in registrations(services.api, project) if one.url == url]
        point = {"from_name": "point", "to_name": "image", "type": "keypoint", "id": "a", "is_positive": True}
        point |= {"original_width": 640, "original_height": 427, "image_rotation": 0}
        context = {"result": [point | {"value": {"x": 40, "y": 35, "width": 1}}]}
        answer = interactive_prediction(services.api, entry.id, task, context)
        event = {"action": "TASKS_CREATED", "project": {"id": project}, "tasks": [{"id": task}]}
        stranger, _ = backend.ask("/webhook", event)
        import_files(services.api, project, [photo])
        backend.wait_until(lambda: len(backend.ask("/api/runs", Authorization=basic)[1]["runs"]) > 0)
        runs = backend.ask("/api/runs", Authorization=basic)[1]["runs"]
        hooks = services.api.call("GET", "/api/webhooks/", query={"project": project})
    finally:
        backend.stop()

    assert without.returncode == 1
    assert "password" in without.stderr
    assert with_it.returncode == 0, with_it.stderr
    assert "not-for-strangers" not in with_it.stdout + with_it.stderr
    assert [region["type"] for region in answer["result"]] == ["brush"]
    assert stranger == 401
    assert [run["configuration"]["filter"]["ids"] for run in runs] == [[tasks_of_project(services.api, project)[1].id]]
    (hook,) = [hook for hook in hooks if hook["url"].startswith(url)]
    assert hook["send_for_all_actions"] is True
    assert hook["headers"] == {HEADER: webhook_secret("annotator", "not-for-strangers")}


def test_what_is_wrong_is_said_with_the_way_out(services: Services) -> None:
    project = str(create_project(services.api, "Not to be connected", RECTANGLES).id)

    nobody = connect(services.url, services.token, "--project", project, "--url", f"http://127.0.0.1:{free_port(0)}")
    no_project = connect(services.url, services.token, "--project", "99999", "--url", services.backend_url)
    wrong_token = connect(services.url, "f" * 40, "--project", project, "--url", services.backend_url)
    no_address = connect(services.url, services.token, "--project", project, "--url", "sam")
    no_json = connect(services.url, services.token, "--project", project, "--extra-params", "{")

    assert (nobody.returncode, no_project.returncode, wrong_token.returncode) == (1, 1, 1)
    assert "the address that Label Studio's own machine sees" in nobody.stderr
    assert "/api/projects/99999/ answered 404" in no_project.stderr
    assert "401" in wrong_token.stderr
    assert (no_address.returncode, no_json.returncode) == (2, 2)
    for said in (nobody, no_project, wrong_token, no_address, no_json):
        assert "Traceback" not in said.stderr
        assert said.stderr.count("\n") == 1


def test_a_label_studio_that_refuses_private_addresses_is_explained(
    services: Services, label_studio_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(label_studio_process.SETTINGS, "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS")
    login, port = load_or_make_login(tmp_path / "login.json"), free_port(0)
    url = label_studio_url(port)
    copy_migrated_database(label_studio_program, tmp_path / "data")
    strict = start_label_studio(
        label_studio_program, tmp_path / "data", port, login.email, login.password, tmp_path / "log"
    )
    with strict:
        strict.wait_for(f"{url}/health", 180, lambda waited_s: None)
        token = create_personal_access_token(url, login.email, login.password)
        project = create_project(LabelStudioClient(LabelStudioCredentials(url, token)), "Strict", RECTANGLES).id

        refused = connect(url, token, "--project", str(project), "--url", services.backend_url)

    assert refused.returncode == 1
    assert "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false" in refused.stderr
