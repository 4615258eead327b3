"""The documentation agrees with the code: links, settings, commands, both languages of the README."""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.report import rendered
from sam_backend.commands.main import parser
from sam_backend.settings import ENVIRONMENT, Settings
from sam_testing.documentation import FENCE, PAGES, ROOT, code_blocks, shell_commands

README_MAX_LINES = 150


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.M)}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_MAX_LINES


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("http"):
            continue
        target, _, fragment = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert not fragment or fragment in anchors(file), link


def test_every_page_of_the_documentation_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    unlinked = [name(page) for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme]

    assert unlinked == []


def test_the_settings_table_has_each_variable_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| ", (ROOT / "docs/settings.md").read_text(), re.M)
    documented = dict(rows)
    defaults = Settings()

    assert len(documented) == len(rows), "a variable has two rows"
    assert set(documented) == {variable for variable, _ in ENVIRONMENT.values()}
    for field, (variable, _) in ENVIRONMENT.items():
        default = getattr(defaults, field)
        expected = "none" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        if isinstance(default, float) and default.is_integer():
            expected = f"`{default:g}`"
        if default in ((), ""):
            expected = "none"
        assert documented[variable] == expected, variable


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_command_line_knows_every_command_that_a_page_shows(page: Path) -> None:
    for command in shell_commands(page):
        words = shlex.split(command)
        if "label-studio-sam" in words and words[0] in ("label-studio-sam", "docker"):
            parser().parse_args(words[words.index("label-studio-sam") + 1 :])


def test_no_sentence_stands_on_two_pages() -> None:
    sentences: Counter[str] = Counter()
    for page in PAGES:
        text = " ".join(line for line in prose(page).splitlines() if not line.startswith(("|", "#", "!", "<")))
        found = {each.strip() for each in re.split(r"(?<=[.!?])\s+", text)}
        sentences.update(each for each in found if len(each) > 60)

    assert [each for each, count in sentences.items() if count > 1] == []


def test_the_chinese_readme_has_the_same_headings_and_code_as_the_english_one() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"

    def levels(page: Path) -> list[int]:
        return [len(marks) for marks in re.findall(r"^(#+) ", prose(page), re.M)]

    def code(page: Path) -> list[tuple[str, list[str]]]:
        return [(lang, re.sub(r"\s+# .*", "", body).splitlines()) for lang, body in code_blocks(page)]

    def links(page: Path) -> set[str]:
        return set(re.findall(r"\]\(([^)]+)\)", prose(page))) - {"README.md", "README.zh-CN.md"}

    assert levels(chinese) == levels(english)
    assert code(chinese) == code(english)
    assert links(chinese) == links(english)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_table_of_measurements_is_what_its_benchmark_wrote(page: Path) -> None:
    text = page.read_text()

    assert rendered(text) == text
