"""A click in the real Label Studio, started with the compose file's environment, in a real browser; the backend runs.

    docker/check_click.py environment LABEL_STUDIO_PORT TOKEN         the backend's variables, one a line
    docker/check_click.py click LABEL_STUDIO_PORT TOKEN BACKEND_URL PROGRAM

docker/check calls it with the environments' own Python (`make setup labelstudio`).
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from sam_backend.demo.label_studio_process import label_studio_url
from sam_backend.demo.user_actions import create_project, import_files, tasks_of_project
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.annotations import annotations_of_task
from sam_testing.composed_label_studio import compose_environment, composed_label_studio
from sam_testing.editor import CHROMIUM_ARGUMENTS, WAIT_MS, Editor, find_chromium

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples/photos/astronaut.jpg"
CONFIG = (ROOT / "examples/labeling_configs/labels_palette.xml").read_text()


def screenshot(editor: Editor, name: str) -> None:
    """Save a screenshot for docs/deploy.md if SCREENSHOTS names a folder."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        editor.page.wait_for_timeout(1500)  # images and fonts of the page
        editor.page.screenshot(path=Path(folder) / name, type="jpeg", quality=80)


def click(port: int, token: str, backend: str, program: str) -> None:
    """A project, connected by `program` (the container's label-studio-sam), and a click in the browser."""
    url = label_studio_url(port)
    with composed_label_studio(port, token, backend) as login:
        api = LabelStudioClient(LabelStudioCredentials(url, token))
        project = create_project(api, "Astronauts", CONFIG).id
        import_files(api, project, [PHOTO])
        for arguments in (["connect", "--project", str(project), "--url", backend, "--fix-config"], ["doctor"]):
            subprocess.run([program, *arguments], check=True)  # noqa: S603  # docker/check's own
        actions = api.call("GET", f"/api/dm/actions?project={project}")
        if not any("SAM" in action["title"] for action in actions):
            raise SystemExit("the Data Manager does not offer the action")
        chromium = find_chromium()
        if chromium is None:
            raise SystemExit("no Chromium: apt-get install chromium, or CHROMIUM=/path/to/it")
        with sync_playwright() as playwright, ExitStack() as stack:
            browser = stack.enter_context(playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS))
            context = stack.enter_context(browser.new_context(viewport={"width": 1280, "height": 720}))
            context.set_default_timeout(WAIT_MS)
            editor = Editor(context.new_page(), url, login)
            editor.page.goto(f"{url}/user/login/")
            screenshot(editor, "deploy_1_login.jpg")
            editor.log_in()
            for part, sign, name in (
                ("labeling", "Code", "deploy_2_labeling.jpg"),
                ("ml", backend, "deploy_3_model.jpg"),
            ):
                editor.page.goto(f"{url}/projects/{project}/settings/{part}")
                editor.page.get_by_text(sign, exact=True).first.click()
                screenshot(editor, name)
            editor.open_task(project, tasks_of_project(api, project)[0].id)
            editor.take_point("Person")
            editor.click(45, 25)
            expect(editor.suggestions).to_have_text("1 suggestions")
            screenshot(editor, "deploy_4_click.jpg")
            editor.accept()
            editor.submit()
        (annotation,) = annotations_of_task(api, tasks_of_project(api, project)[0].id)
        kinds = sorted({str(region["type"]) for region in annotation.result})
        if not any(kind.startswith("brush") for kind in kinds):
            raise SystemExit(f"no mask was stored, only {kinds}")
        print(f"a click in the browser became an annotation of {', '.join(kinds)}")


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
        click(int(port), token, *rest)
