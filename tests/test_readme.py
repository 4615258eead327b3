"""The README keeps its promises: its tree is the real one, its settings are those that are read."""

import re
from pathlib import Path

from sam_backend.settings import ENVIRONMENT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def files_of_the_tree() -> dict[str, str]:
    """Path -> comment of every file in the README's tree."""
    tree = README.split("## The tree")[1].split("```")[1]
    files, folders = {}, [""]
    for line in tree.strip("\n").removeprefix("text\n").splitlines():
        name, _, comment = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth + 1 :] = [f"{folders[depth]}{name}"]
        if not name.endswith("/"):
            files[folders[depth + 1]] = comment.strip()
    return files


def test_the_tree_has_every_module_and_nothing_else() -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("backend/label_studio_action", "backend/sam_backend", "model/sam_model")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }

    listed = {file for file in files_of_the_tree() if file.endswith(".py") and file.startswith(("backend", "model"))}

    assert listed == modules


def test_every_file_of_the_tree_is_there_and_has_a_comment() -> None:
    for file, comment in files_of_the_tree().items():
        assert (ROOT / file).exists(), file
        assert comment, file


def test_the_settings_table_names_every_variable() -> None:
    table = README.split("## Settings")[1].split("\n## ")[0]

    assert set(re.findall(r"`((?:SAM|LABEL_STUDIO)_[A-Z_]+)`", table)) >= {name for name, _ in ENVIRONMENT.values()}


def test_every_link_to_a_file_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
