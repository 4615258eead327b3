"""The pages of the documentation, with their code blocks and shell commands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)


def code_blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of each fenced block."""
    return [(language, body) for _, language, body in FENCE.findall(page.read_text())]


def shell_commands(page: Path) -> list[str]:
    """Return each command of the page's `sh` blocks, with continuation lines joined and comments removed."""
    commands = []
    for language, body in code_blocks(page):
        if language == "sh":
            for line in body.replace("\\\n", " ").splitlines():
                command = re.sub(r"\s+#.*", "", line).strip()
                if command and not command.startswith("#"):
                    commands.append(command)
    return commands
