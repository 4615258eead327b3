"""Every shell command of the documentation runs here, in another test, or in a step of the continuous integration."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from sam_backend.commands.main import main
from sam_testing.documentation import PAGES, ROOT, shell_commands

# command -> exit code of a run in a folder with `photo.jpg`, without weights and network
RUN_HERE = {
    "label-studio-sam weights list": 0,
    "label-studio-sam weights verify": 0,
    "label-studio-sam weights path mobile_sam": 1,  # prints the path; the file is not downloaded
    "label-studio-sam runs list": 0,
    "label-studio-sam predict photo.jpg --model classical --box 40,30,310,290 --out overlays": 0,
}
# pattern of a command -> file that runs it, and a text in that file
RUN_ELSEWHERE = {
    r"make (setup|test)": (".ci/run", "make \\1"),
    r"make demo": ("tests/end_to_end/test_demo.py", "demo"),
    r"export LABEL_STUDIO_\w+=\S+": ("tests/end_to_end/test_connect.py", "LABEL_STUDIO_URL"),
    r"label-studio-sam serve .*": ("tests/sam_testing/backend_program.py", "serve"),
    r"label-studio-sam connect .*": ("tests/end_to_end/test_connect.py", "--fix-config"),
    r"label-studio-sam doctor( --json)?": ("tests/backend/diagnostics/test_health_monitor.py", '"--json"'),
    r"label-studio-sam preannotate .*--engine ray.*": ("tests/backend/preannotation/test_ray_executor.py", "ray"),
    r"label-studio-sam preannotate .*": ("tests/backend/commands/test_preannotate.py", '"preannotate"'),
    r"label-studio-sam runs undo": ("tests/end_to_end/test_preannotate.py", '"undo"'),
    r"label-studio-sam embeddings (build|index|stats|clear).*": (
        "tests/backend/runs/test_image_builder.py", '"embeddings"',
    ),
    r"label-studio-sam weights download \w+": ("tests/model/weights/test_store.py", "fetch"),
    r"label-studio-sam evaluate .*": ("tests/backend/commands/test_evaluate.py", '"evaluate"'),
    r"label-studio-sam runs review .*": ("tests/backend/commands/test_evaluate.py", '"review"'),
    r"label-studio-sam export .*": ("tests/backend/export/test_project_export.py", '"export"'),
    r"pip install 'label-studio-sam\[converter\]'": ("pyproject.toml", "converter ="),
    r"label-studio-converter export .*": ("tests/backend/export/test_project_export.py", "label_studio_sdk.converter"),
    r"label-studio-sam predict .*": ("tests/backend/commands/test_predict.py", '"predict"'),
    r"label-studio-sam annotate .*": ("tests/backend/commands/test_annotate.py", '"annotate"'),
    r"label-studio-sam bench models .*": ("tests/backend/commands/test_bench.py", '"--plot"'),
    r"label-studio-sam bench runtimes .*": ("tests/backend/commands/test_bench.py", '"runtimes"'),
    r"cp docker/.env.example docker/.env": ("tests/docker/test_docker_files.py", ".env.example"),
    r"docker (compose|build|run|exec) .*": (".ci/run", "docker/check"),
    r"kubectl .*": ("tests/docker/test_kubernetes.py", "kustom"),
    r"ML_BLOCK_LOCAL_IP=false .* label-studio start": (
        "backend/sam_backend/demo/label_studio_process.py", "ML_BLOCK_LOCAL_IP",
    ),
    r"PYTHONPATH=.* label-studio start": ("tests/docker/test_docker_files.py", "label_studio_action.settings"),
    r"curl -s localhost:9090/api/runs .*": ("tests/backend/web/test_run_routes.py", "/api/runs"),
    r"pip install (--no-deps label-studio-ml==1.0.9|redis rq .*)": ("Makefile", "label-studio-ml"),
    r"pip install 'label-studio-sam\[ray\]'": ("pyproject.toml", "ray ="),
    r"label-studio-ml (init|start) .*": ("tests/ml_backend/test_ml_backend.py", "label-studio-ml"),
}  # fmt: skip


def commands() -> list[str]:
    """Return each command of all pages once."""
    return list(dict.fromkeys(command for page in PAGES for command in shell_commands(page)))


@pytest.mark.parametrize("command", commands())
def test_each_command_is_run(command: str) -> None:
    if command in RUN_HERE:
        return
    pattern = next((each for each in RUN_ELSEWHERE if re.fullmatch(each, command)), None)
    assert pattern is not None, "no test or step of .ci/run runs this command: add it to RUN_HERE or RUN_ELSEWHERE"
    file, text = RUN_ELSEWHERE[pattern]
    found = re.fullmatch(pattern, command)
    assert found is not None
    assert (found.expand(text) if "\\" in text else text) in (ROOT / file).read_text(), file


def test_each_entry_belongs_to_a_command() -> None:
    documented = commands()

    unused = [each for each in RUN_HERE if each not in documented]
    unused += [each for each in RUN_ELSEWHERE if not any(re.fullmatch(each, command) for command in documented)]

    assert unused == []


@pytest.mark.parametrize("command", RUN_HERE)
def test_the_command_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "examples/photos/chelsea.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    for variable in ("SAM_WEIGHTS_DIR", "SAM_RUNS_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("SAM_OFFLINE", "1")

    assert main(shlex.split(command)[1:]) == RUN_HERE[command]
