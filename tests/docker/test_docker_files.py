import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from sam_backend.settings import ENVIRONMENT
from sam_testing.web_server import Answer, Asked, serving

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
SECRETS = {"LABEL_STUDIO_USERNAME", "LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_API_KEY"}


@pytest.fixture
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return found


@pytest.fixture
def compose_text() -> str:
    return (DOCKER / "compose.yaml").read_text()


@pytest.fixture
def dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()


@pytest.mark.parametrize("service", ["sam-cpu", "sam-gpu"])
def test_every_variable_of_the_backend_in_the_compose_file_is_one_that_it_reads(
    compose: dict[str, Any], service: str
) -> None:
    known = {variable for variable, _ in ENVIRONMENT.values()}
    assert set(compose["services"][service]["environment"]) <= known


def test_a_missing_secret_stops_the_start_with_its_name(compose_text: str) -> None:
    for secret in SECRETS:
        uses = re.findall(r"\$\{" + secret + r"(.*?)\}", compose_text)
        assert uses, secret
        assert all(use.startswith(":?") for use in uses), secret


def test_the_example_has_no_default_secret() -> None:
    lines = (DOCKER / ".env.example").read_text().splitlines()
    for secret in SECRETS:
        assert f"{secret}=" in lines


def test_every_variable_of_the_example_is_one_that_the_compose_file_reads(compose_text: str) -> None:
    named = re.findall(r"^#?([A-Z_]+)=", (DOCKER / ".env.example").read_text(), re.M)
    assert set(named) - {"COMPOSE_PROFILES"} <= set(re.findall(r"\$\{([A-Z_]+)", compose_text))


def test_the_backend_runs_with_a_read_only_root_and_no_rights(compose: dict[str, Any]) -> None:
    for service in ("sam-cpu", "sam-gpu"):
        found = compose["services"][service]
        assert found["read_only"] is True
        assert found["cap_drop"] == ["ALL"]
        assert found["depends_on"]["label-studio"]["condition"] == "service_healthy"


def test_label_studio_may_call_a_backend_on_a_private_network_and_has_the_action(compose: dict[str, Any]) -> None:
    found = compose["services"]["label-studio"]["environment"]
    assert found["LABEL_STUDIO_ML_BLOCK_LOCAL_IP"] == found["LABEL_STUDIO_SSRF_PROTECTION_ENABLED"] == "false"
    assert found["DJANGO_SETTINGS_MODULE"] == "label_studio_action.settings"


def test_both_targets_are_there_and_run_as_a_user_without_rights(dockerfile: str) -> None:
    assert set(re.findall(r"^FROM runtime AS (\w+)", dockerfile, re.M)) == {"cpu", "gpu"}
    assert re.findall(r"^USER (.*)", dockerfile, re.M) == ["10001:10001"]
    assert "HEALTHCHECK" in dockerfile


def test_what_comes_from_the_network_is_pinned_by_its_hash(dockerfile: str) -> None:
    parts = re.split(r"&&|\n", dockerfile.replace("\\\n", " "))
    steps = [part for part in parts if "/bin/pip" in part and " install " in part]
    assert len(steps) == 6
    assert all("--require-hashes" in step or "--no-index" in step for step in steps)


@pytest.mark.parametrize("build", ["cpu", "gpu"])
def test_the_lock_covers_what_the_package_needs(build: str) -> None:
    names = ["torch-cpu.lock", "requirements-cpu.lock"] if build == "cpu" else ["requirements-gpu.lock"]
    locked = "".join((DOCKER / name).read_text() for name in names)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for dependency in wanted:
        name = re.split(r"[<>=\[]", dependency)[0]
        entries = re.findall(rf"^{name}==.*(?:\n    .*)*", locked, re.M)
        assert entries, name
        assert all("--hash=sha256:" in entry for entry in entries), name


def test_the_base_image_is_pinned_by_its_digest(dockerfile: str) -> None:
    (base,) = re.findall(r"^ARG BASE=(.*)", dockerfile, re.M)
    assert re.fullmatch(r"docker\.io/library/python:3\.12\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.M)) == {"${BASE}", "builder", "runtime"}


@pytest.mark.parametrize("build", ["cpu", "gpu"])
def test_the_bill_of_materials_is_valid_and_names_every_locked_package_with_its_hashes(build: str) -> None:
    written = subprocess.run(
        [sys.executable, str(DOCKER / "sbom.py"), build], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    names = ["torch-cpu.lock", "requirements-cpu.lock"] if build == "cpu" else ["requirements-gpu.lock"]
    locked = "".join((DOCKER / name).read_text() for name in names)
    components = json.loads(written)["components"]
    packages = {one["name"]: one["version"] for one in components if one["type"] == "library"}
    assert packages == dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", locked, re.M))
    hashes = [
        found["content"] for one in components for found in one.get("externalReferences", [{}])[0].get("hashes", [])
    ]
    assert sorted(hashes) == sorted(re.findall(r"--hash=sha256:(\w+)", locked))
    (base,) = [one for one in components if one["type"] == "container"]
    assert (
        f"{base['name']}:{base['version']}@sha256:{base['hashes'][0]['content']}" in (DOCKER / "Dockerfile").read_text()
    )


def test_the_digest_of_the_base_is_renewed_from_the_registry(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    for name in ("pin", "Dockerfile"):
        shutil.copy(DOCKER / name, tmp_path / name)
    digest = "sha256:" + "ab" * 32

    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/token?"):
            return Answer(b'{"token": "t0"}')
        assert (asked.method, asked.headers["authorization"]) == ("HEAD", "Bearer t0")
        assert asked.path == "/v2/library/python/manifests/3.12.99-slim-bookworm"
        return Answer(headers={"Docker-Content-Digest": digest})

    with serving(answer) as registry:
        environment = {**os.environ, "REGISTRY": registry.url, "LOGIN": f"{registry.url}/token", "no_proxy": "*"}
        command = [str(tmp_path / "pin"), "3.12.99-slim-bookworm"]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)

    lines = (tmp_path / "Dockerfile").read_text().splitlines()
    assert f"ARG BASE=docker.io/library/python:3.12.99-slim-bookworm@{digest}" in lines


def test_the_audit_says_why_it_cannot_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    shutil.copy(DOCKER / "audit", folder)
    for name in ("requirements-cpu.lock", "requirements-gpu.lock", "requirements-build.lock"):
        (folder / name).write_text("")
    pip_audit = tmp_path / "bin/pip-audit"
    pip_audit.parent.mkdir()
    pip_audit.write_text("#!/bin/sh\necho ConnectionError: no route to osv.dev >&2\nexit 1\n")
    pip_audit.chmod(0o755)
    environment = {"PATH": f"{pip_audit.parent}:{os.environ['PATH']}"}

    def audit() -> subprocess.CompletedProcess[str]:
        command = [str(folder / "audit")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    ended = audit()
    assert (ended.returncode, "no route to osv.dev" in ended.stdout) == (77, True)

    found = {"name": "flask", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0"]}]}
    skipped = {"name": "torch", "skip_reason": "not found"}
    for one, said in ((found, "flask 1.0: PYSEC-1, fixed in 2.0"), (skipped, "torch: not looked up: not found")):
        answer = json.dumps({"dependencies": [one]})
        pip_audit.write_text(f'#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\necho \'{answer}\' >"$2"\n')
        ended = audit()
        assert (ended.returncode, said in ended.stdout) == (1, True), ended


def test_the_cpu_lock_has_no_cuda_packages() -> None:
    assert "nvidia" not in (DOCKER / "requirements-cpu.lock").read_text()
