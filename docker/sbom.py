"""Writes the image's bill of materials: CycloneDX 1.6 as JSON, from the locks that the image is built of.

    python docker/sbom.py cpu >sbom.cdx.json        or gpu

It names the Python packages with the hashes that pip checks, and the base image by its digest; what Debian put into
the base image is in the base image's own. The same locks give the same bytes.
"""

import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

DOCKER = Path(__file__).parent
LOCKS = {"cpu": ("torch-cpu.lock", "requirements-cpu.lock"), "gpu": ("requirements-gpu.lock",)}


def locked(text: str) -> list[dict[str, Any]]:
    """The packages of a lock as CycloneDX components."""
    components = []
    for entry in re.finditer(r"^(\S+?)(?:\[\S*\])?==([^\s;\\]+)(.*(?:\n    .*)*)", text, re.M):
        name, version, rest = entry.groups()
        purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"
        hashes = [{"alg": "SHA-256", "content": found} for found in sorted(re.findall(r"sha256:([0-9a-f]{64})", rest))]
        component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        # one per published file of the release, whichever of them was installed
        components.append(
            {**component, "externalReferences": [{"type": "distribution", "url": purl, "hashes": hashes}]}
        )
    return components


def base_image() -> dict[str, Any]:
    """The base image of the Dockerfile as a CycloneDX component."""
    reference = re.findall(r"^ARG BASE=(\S+)", (DOCKER / "Dockerfile").read_text(), re.M)[0]
    name, _, digest = reference.partition("@sha256:")
    repository, _, tag = name.rpartition(":")
    purl = f"pkg:oci/{repository.rpartition('/')[2]}@sha256%3A{digest}?repository_url={repository}&tag={tag}"
    found = {"type": "container", "bom-ref": purl, "name": repository, "version": tag, "purl": purl}
    return {**found, "hashes": [{"alg": "SHA-256", "content": digest}]}


def bill_of_materials(target: str) -> dict[str, Any]:
    """The whole document."""
    components = [base_image()] + [each for lock in LOCKS[target] for each in locked((DOCKER / lock).read_text())]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": "image", "name": f"label-studio-sam:{target}"}},
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [each["bom-ref"] for each in components]}],
    }


if __name__ == "__main__":
    if sys.argv[1:] not in ([name] for name in LOCKS):
        sys.exit("usage: sbom.py cpu|gpu")
    print(json.dumps(bill_of_materials(sys.argv[1]), indent=1))
