"""The manifests: valid for each supported Kubernetes, and in agreement with the image and the service."""

import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sam_backend.settings import ENVIRONMENT

FOLDER = Path(__file__).parents[2] / "docker/kubernetes"
DOCKERFILE = (FOLDER.parent / "Dockerfile").read_text()
VERSIONS = ("1.29", "1.33", "1.37")
BASE = sorted(path for path in (FOLDER / "base").glob("*.yaml") if path.name != "kustomization.yaml")

Json = dict[str, Any]


def document(name: str) -> Json:
    found: Json = yaml.safe_load((FOLDER / "base" / f"{name}.yaml").read_text())
    return found


@pytest.fixture
def pod() -> Json:
    found: Json = document("deployment")["spec"]["template"]["spec"]
    return found


@pytest.fixture
def container(pod: Json) -> Json:
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", BASE, ids=lambda path: path.stem)
def test_a_manifest_fits_the_schema_of_kubernetes_without_unknown_fields(path: Path, version: str) -> None:
    kubernetes_validate.validate(yaml.safe_load(path.read_text()), version, strict=True)


def test_the_check_finds_a_field_that_is_misspelt() -> None:
    wrong = document("deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_manifest_is_part_of_the_kustomization() -> None:
    assert sorted(document("kustomization")["resources"]) == [path.name for path in BASE]


@pytest.mark.parametrize(("overlay", "gpus"), [("cpu", None), ("gpu", "1")])
def test_an_overlay_builds_and_fits_the_schema(overlay: str, gpus: str | None) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which builds the overlays")
    command = ["kubectl", "kustomize", str(FOLDER / overlay)]

    built = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    documents = {each["kind"]: each for each in yaml.safe_load_all(built)}
    for each in documents.values():
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"label-studio-sam:{overlay}"
    assert container["resources"]["limits"].get("nvidia.com/gpu") == gpus
    assert f" AS {overlay}\n" in DOCKERFILE


def test_the_pod_has_no_rights_that_it_does_not_need(pod: Json, container: Json) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in DOCKERFILE
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    rights = container["securityContext"]
    assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


def test_every_folder_that_the_image_writes_is_a_volume(pod: Json, container: Json) -> None:
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    written = {f"/{part}" for part in ("weights", "runs", "embeddings", "tmp")}

    assert mounts == written
    assert all(f"={folder}" in DOCKERFILE for folder in written)  # SAM_..._DIR and HOME
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_probes_and_service_reach_the_service(container: Json) -> None:
    (port,) = container["ports"]
    (service_port,) = document("service")["spec"]["ports"]

    assert service_port["targetPort"] == port["name"]
    assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE
    for probe, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
        assert container[probe]["httpGet"]["path"] == path
        assert container[probe]["httpGet"]["port"] == port["name"]


def test_every_setting_is_one_that_the_service_reads_and_the_token_is_in_no_file() -> None:
    known = {variable for variable, _ in ENVIRONMENT.values()}
    data = document("settings")["data"]

    assert set(data) <= known
    assert not any("KEY" in name or "PASSWORD" in name or "TOKEN" in name for name in data)
    assert all(isinstance(value, str) for value in data.values())


def test_only_label_studio_and_prometheus_may_call() -> None:
    (rule,) = document("network-policy")["spec"]["ingress"]

    names = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in rule["from"]]
    assert names == ["label-studio", "prometheus"]
    assert [port["port"] for port in rule["ports"]] == [9090]


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "10.1.2.3", "192.168.0.1", "172.20.0.1", "127.0.0.1", "fd00:ec2::254", "fe80::1"]
)
def test_no_image_comes_from_the_clusters_own_network(address: str) -> None:
    blocks = [
        peer["ipBlock"]
        for rule in document("network-policy")["spec"]["egress"]
        for peer in rule["to"]
        if "ipBlock" in peer
    ]

    for block in blocks:
        if ip_address(address).version == ip_network(block["cidr"]).version:
            assert any(ip_address(address) in ip_network(inner) for inner in block["except"] if _same(inner, address))


def test_a_public_image_host_is_reached() -> None:
    policy = document("network-policy")["spec"]["egress"]
    blocks = [peer["ipBlock"] for rule in policy for peer in rule["to"] if "ipBlock" in peer]

    assert {ip_network(block["cidr"]).version for block in blocks} == {4, 6}
    for address in ("93.184.216.34", "2606:2800:220:1::1"):
        inner = [each for block in blocks for each in block["except"] if _same(each, address)]
        assert not any(ip_address(address) in ip_network(each) for each in inner)


def _same(network: str, address: str) -> bool:
    return ip_network(network).version == ip_address(address).version
