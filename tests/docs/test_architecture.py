"""docs/architecture.md agrees with the folders and files of the packages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
BACKEND, MODEL = ROOT / "backend/sam_backend", ROOT / "model/sam_model"


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "package"), [("Folders of the backend", BACKEND), ("Folders of the model package", MODEL)]
)
def test_the_table_has_every_folder_of_the_package(title: str, package: Path) -> None:
    documented = re.findall(r"^\| `(\w+)/` \|", section(title), re.M)

    assert sorted(documented) == sorted(init.parent.name for init in package.glob("*/__init__.py"))


def test_every_file_that_a_click_passes_through_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)`", section("The path of a click"))

    assert named
    roots = {True: MODEL.parent, False: BACKEND}
    missing = [each for each in named if not (roots[each.startswith("sam_model/")] / each).is_file()]
    assert missing == []


def test_every_decision_is_linked() -> None:
    linked = re.findall(r"\(decisions/([\w-]+\.md)\)", PAGE)

    assert sorted(linked) == sorted(page.name for page in (ROOT / "docs/decisions").glob("*.md"))
