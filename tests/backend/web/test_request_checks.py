"""What a browser on a stranger's page, and a caller without password or token, can and cannot do."""

import base64
from typing import Any

import pytest

from sam_backend.label_studio.webhook_secret import HEADER, webhook_secret
from sam_backend.network.host_names import is_allowed_host, is_same_host
from sam_backend.settings import Settings, SettingsError
from sam_testing.label_studio import predict_request, setup_request
from sam_testing.service import SamService

BASIC = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
PASSWORD = {"basic_auth_user": "u", "basic_auth_password": "p"}
TRAINING = {"action": "START_TRAINING", "project": {"id": 1}}
IMPORT = {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": 1}]}
POSTS = {
    "/setup": setup_request(),
    "/predict": predict_request(None),
    "/validate": {"config": "<View/>"},
    "/webhook": TRAINING,
    "/api/runs": {"project": 1},
    "/api/runs/preview": {"project": 1},
    "/api/runs/mapping": {"project": 1},
    "/api/runs/x/undo": {},
}
GETS = ["/", "/health", "/ready", "/versions", "/static/x", "/api/runs", "/api/runs/x", "/api/projects"]
GETS += ["/api/status", "/nowhere"]


class Begun(SamService):
    """Notes runs in place of beginning them."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self.begun: list[str] = []
        runs = self.parts.runs
        runs.start_training = lambda project: self.begun.append(f"training {project}")  # type: ignore[method-assign]
        runs.tasks_created = lambda project, ids: self.begun.append(f"import {project}")  # type: ignore[method-assign]
        runs.start = lambda configuration: self.begun.append("run")  # type: ignore[assignment,method-assign]


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:9090",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "a@localhost",
    "localhost,evil.example",
    "local host",
    "evil.example.",
    "EVIL.example",
    "[::1].evil.example",
    "evil.local.example",
    "sam.internal.evil.com",
    "\xe9",
    "localhost:x",
    "localhost:99999999",
    "/",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_host_that_may_be_a_strangers_is_refused_for_every_address(host: str) -> None:
    service = Begun()

    answers = [service.client.get(path, headers={"Host": host}) for path in GETS]
    answers += [service.client.post(path, json=body, headers={"Host": host}) for path, body in POSTS.items()]

    assert {answer.status_code for answer in answers} == {421}
    assert all("SAM_ALLOWED_HOSTS" in answer.get_json()["error"] for answer in answers)
    assert service.begun == []


OWN_HOSTS = [
    "localhost",
    "localhost:9090",
    "sam",
    "sam:9090",
    "sam-cpu:9090",
    "my_sam",
    "127.0.0.1:9090",
    "10.0.0.7",
    "8.8.8.8",
    "[::1]:9090",
    "[fd00::7]",
    "host.docker.internal:9090",
    "box.local",
    "sam.default.svc",
    "LocalHost",
    "localhost.",
    "sam.default.svc.cluster.local:80",
    "a.localhost",
    "127.1",
    "0x7f000001",
    "",
]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_own_addresses_and_private_names_are_answered(host: str) -> None:
    assert SamService().client.get("/health", headers={"Host": host}).status_code == 200


def test_other_names_are_answered_where_the_settings_name_them() -> None:
    service = SamService(Settings(allowed_hosts=("sam.example.org", "*.example.net")))
    answered = {
        host: service.client.get("/health", headers={"Host": host}).status_code == 200
        for host in (
            "sam.example.org:443",
            "SAM.example.org.",
            "a.example.net",
            "example.net",
            "example.org",
            "a.b.org",
        )
    }

    assert list(answered.values()) == [True, True, True, False, False, False]
    assert is_allowed_host("anything.example", ("*",))


def test_allowed_hosts_are_read_from_the_environment() -> None:
    found = Settings.from_env({"SAM_ALLOWED_HOSTS": " Sam.Example.org, *.example.net ,"}).allowed_hosts

    assert found == ("sam.example.org", "*.example.net")
    for wrong in ("http://sam.example.org", "sam:9090", "a b"):
        with pytest.raises(SettingsError, match="SAM_ALLOWED_HOSTS"):
            Settings.from_env({"SAM_ALLOWED_HOSTS": wrong})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost@evil.example"},
        {"Origin": "x"},
        {"Origin": ""},
        {"Origin": "http://localhost:99999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "none", "Origin": "https://evil.example"},
    ],
)
def test_a_page_of_another_origin_is_refused(headers: dict[str, str]) -> None:
    service = Begun()

    answers = [service.client.get(path, headers=headers) for path in GETS]
    answers += [service.client.post(path, json=body, headers=headers) for path, body in POSTS.items()]

    assert {answer.status_code for answer in answers} == {403}
    assert service.begun == []


def test_no_form_of_another_origin_gets_through_by_navigating() -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    client = SamService().client

    assert client.get("/", headers=headers).status_code == 200  # a link to the page may be followed
    assert {client.post(path, json=body, headers=headers).status_code for path, body in POSTS.items()} == {403}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:80", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://sam.example.org", "Sec-Fetch-Site": "same-origin"},  # through a proxy that changes Host
        {"Origin": "https://sam.example.org"},
    ],
)
def test_our_own_page_is_answered(headers: dict[str, str]) -> None:
    service = SamService(Settings(allowed_hosts=("sam.example.org",)))

    assert service.client.post("/validate", json={"config": "<View/>"}, headers=headers).status_code == 400
    assert service.client.get("/api/runs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        ("https://sam.example.org", "sam.example.org", True),
        ("https://sam.example.org", "sam.example.org:443", True),
        ("http://[::1]:9090", "[::1]:9090", True),
        ("http://SAM:9090", "sam:9090", True),
        ("http://sam:9090", "sam:9091", False),
        ("https://sam", "sam:80", False),
        ("ftp://sam", "sam", False),
    ],
)
def test_an_origin_is_compared_with_its_port(origin: str, host: str, is_same: bool) -> None:
    assert is_same_host(origin.lower() if "SAM" in origin else origin, host) is is_same


@pytest.mark.parametrize("path", list(POSTS))
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x\n"])
def test_every_post_wants_json(path: str, kind: str) -> None:
    service = Begun()

    if "\n" in kind:
        answer = service.client.post(path, data="{}", headers={"Content-Type": "text/plain;a=application/json"})
    else:
        answer = service.client.post(path, data="{}", content_type=kind)

    assert answer.status_code == 415
    assert "application/json" in answer.get_json()["error"]
    assert service.begun == []


def test_json_may_name_its_charset() -> None:
    answer = SamService().client.post("/setup", data="{}", content_type="application/json; charset=utf-8")

    assert answer.status_code == 200


@pytest.mark.parametrize("event", [TRAINING, IMPORT], ids=["training", "import"])
def test_with_a_password_no_run_begins_without_it_or_the_webhooks_secret(event: Any) -> None:
    service = Begun(Settings(**PASSWORD, preannotate_on_import=True))
    secret = webhook_secret("u", "p")

    for wrong in ({}, {HEADER: ""}, {HEADER: "p"}, {HEADER: secret[:-1] + "\u00e9"}, {"Authorization": "Basic x"}):
        assert service.client.post("/webhook", json=event, headers=wrong).status_code == 401
    assert service.begun == []
    for right in (BASIC, {HEADER: secret}):
        assert service.client.post("/webhook", json=event, headers=right).status_code == 201
    assert len(service.begun) == 2


def test_events_that_begin_nothing_need_no_password() -> None:
    service = Begun(Settings(**PASSWORD))

    assert service.client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
    assert service.client.post("/webhook", json=IMPORT).status_code == 201


def test_the_webhooks_secret_belongs_to_user_and_password_and_opens_nothing_else() -> None:
    service = SamService(Settings(**PASSWORD))

    assert len({webhook_secret("u", "p"), webhook_secret("u", "q"), webhook_secret("v", "p")}) == 3
    assert service.client.get("/health", headers={HEADER: webhook_secret("u", "p")}).status_code == 401


def test_the_api_token_is_asked_of_the_api_and_of_nothing_else() -> None:
    service = Begun(Settings(api_token="s3cret"))
    api = ["/metrics", *(path for path in GETS if path.startswith("/api"))]

    for wrong in (
        "",
        "Bearer",
        "Bearer x",
        "Bearer s3cret2",
        "Basic czNjcmV0",
        "s3cret",
        "Bearer \u00e9",
        "Token s3cret",
    ):
        answers = [service.client.get(path, headers={"Authorization": wrong}) for path in api]
        answers += [service.client.post("/api/runs", json={"project": 1}, headers={"Authorization": wrong})]
        assert {answer.status_code for answer in answers} == {401}
        assert all(answer.headers["WWW-Authenticate"].startswith("Bearer") for answer in answers)
    assert service.client.get("/api/status", headers={"Authorization": "bearer s3cret"}).status_code == 200
    assert {service.client.get(path).status_code for path in ("/", "/health", "/versions")} == {200}
    assert service.client.post("/setup", json=setup_request()).status_code == 200
    assert service.begun == []


def test_token_and_password_together_guard_their_own_addresses() -> None:
    service = SamService(Settings(**PASSWORD, api_token="s3cret"))

    assert service.client.get("/api/status", headers=BASIC).status_code == 401
    assert service.client.get("/api/status", headers={"Authorization": "Bearer s3cret"}).status_code == 200
    assert service.client.get("/health", headers={"Authorization": "Bearer s3cret"}).status_code == 401
    assert service.client.get("/health", headers=BASIC).status_code == 200
