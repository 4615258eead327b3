"""docs/troubleshooting.md has every check of `doctor` and the fixed part of every message."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIAGNOSTICS = ROOT / "backend/sam_backend/diagnostics"
ROWS = re.findall(r"^\| (\w[\w ]*) \| (.+?) \| ", (ROOT / "docs/troubleshooting.md").read_text(), re.M)


def check_calls() -> list[ast.Call]:
    trees = [ast.parse(file.read_text()) for file in DIAGNOSTICS.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return [each for each in nodes if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "Check"]


def test_each_check_has_a_row() -> None:
    constants = [call.args[0].value for call in check_calls() if isinstance(call.args[0], ast.Constant)]

    assert {"Model", "Runs", "Project"} <= set(constants)
    assert {*constants, "Label Studio", "Token"} <= {check for check, _ in ROWS}


def test_each_message_that_is_a_constant_has_a_row() -> None:
    problems = [
        keyword.value.value for call in check_calls() for keyword in call.keywords
        if keyword.arg == "problem" and isinstance(keyword.value, ast.Constant) and keyword.value.value
    ]  # fmt: skip
    messages = [message for _, message in ROWS]

    assert len(problems) >= 4
    assert [each for each in problems if str(each).split(":")[0] not in messages] == []
