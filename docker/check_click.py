"""A click through the real Label Studio, started with the compose file's environment, on a backend that runs already.

    docker/check_click.py environment LABEL_STUDIO_PORT TOKEN         the backend's variables, one a line
    docker/check_click.py click LABEL_STUDIO_PORT TOKEN BACKEND_URL

docker/check calls it with the environments' own Python (`make setup labelstudio`).
"""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_backend.demo.child_process import ChildProcess
from sam_backend.demo.label_studio_process import find_label_studio, label_studio_url
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.label_studio.api import LabelStudioApi

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "examples/labeling_configs/brush_keypoint_rectangle_labels.xml").read_text()


def compose_environment(service: str, given: dict[str, str]) -> dict[str, str]:
    """The variables that the compose file sets for a service, its ${...} filled in from `given`."""
    import yaml

    found = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"][service]["environment"]
    return {name: _filled_in(str(value), given) for name, value in found.items()}


def _filled_in(value: str, given: dict[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        name, sign, rest = match.groups()
        if sign == ":?" and not given.get(name):
            raise SystemExit(f"{name}: {rest}")
        return given.get(name) or rest

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", one, value)


def click(backend: str, port: int, token: str) -> int:
    """Start Label Studio, connect the backend, click once; the number of regions that came back."""
    url = label_studio_url(port)
    secrets = {"LABEL_STUDIO_USERNAME": "check@example.org", "LABEL_STUDIO_PASSWORD": "only-for-the-check"}
    secrets |= {"LABEL_STUDIO_API_KEY": token, "LABEL_STUDIO_HOST": url}
    with TemporaryDirectory() as folder:
        environment = compose_environment("label-studio", secrets)
        apps = Path(folder) / "apps"
        apps.mkdir()
        (apps / "label_studio_action").symlink_to(ROOT / "backend/label_studio_action", target_is_directory=True)
        environment |= {"LABEL_STUDIO_BASE_DATA_DIR": folder, "PYTHONPATH": str(apps), "SAM_BACKEND_URL": backend}
        environment |= {"PATH": "/usr/bin:/bin", "HOME": folder, "NO_PROXY": "localhost,127.0.0.1"}
        command = [
            str(find_label_studio()),
            "start",
            "--no-browser",
            "--internal-host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        with ChildProcess("Label Studio", command, environment, Path(folder) / "log") as program:
            program.wait_for(f"{url}/health", 300, lambda waited_s: None)
            api = LabelStudioApi(LabelStudioAccess(url, token))
            project = api.create_project("docker/check", CONFIG)
            api.import_files(project.id, [ROOT / "examples/photos/astronaut.jpg"])
            api.connect_backend(project.id, backend, "label-studio-sam")
            task = api.tasks(project.id)[0].id
            connected = api.call("GET", f"/api/ml?project={project.id}")[0]
            actions = api.call("GET", f"/api/dm/actions?project={project.id}")
            if not any("SAM" in action["title"] for action in actions):
                raise SystemExit("the Data Manager does not offer the action")
            point = {"id": "a", "from_name": "point", "to_name": "image", "type": "keypointlabels", "is_positive": True}
            point |= {"original_width": 512, "original_height": 512, "image_rotation": 0, "origin": "manual"}
            for name in re.findall(r'<KeyPointLabels[^>]*name="(\w+)"', CONFIG):
                point["from_name"] = name
            point["to_name"] = re.findall(r'<Image[^>]*name="(\w+)"', CONFIG)[0]
            label = re.findall(r'<Label[^>]*value="([^"]+)"', CONFIG)[0]
            point["value"] = {"x": 45.0, "y": 25.0, "width": 0.5, "labels": [label], "keypointlabels": [label]}
            body = {"task": task, "context": {"result": [point]}}
            answer = api.call("POST", f"/api/ml/{connected['id']}/interactive-annotating", body)
            regions = (answer.get("data") or {}).get("result") or []
            if not regions:
                raise SystemExit(f"a click gave no region: {str(answer)[:500]}")
            found = f"{len(regions)} region, {regions[0]['type']}"
            print(f"a click through Label Studio gave {found}; state {connected['state']}")
            return len(regions)


def backend_environment(port: int, token: str) -> list[str]:
    """The backend's variables in the compose file, for a Label Studio on this machine and without weights."""
    given = {"LABEL_STUDIO_API_KEY": token, "SAM_MODEL": "classical", "SAM_OFFLINE": "1"}
    found = compose_environment("sam-cpu", given) | {"LABEL_STUDIO_URL": label_studio_url(port)}
    return [f"{name}={value}" for name, value in found.items()]


if __name__ == "__main__":
    what, port, token, *rest = sys.argv[1:]
    if what == "environment":
        print("\n".join(backend_environment(int(port), token)))
    else:
        click(rest[0], int(port), token)
