"""docs/security.md agrees with the code: each setting exists with its default, each fixed limit has its value."""

import re
from pathlib import Path
from typing import Any

from sam_backend.images.fetch import MAX_REDIRECTS
from sam_backend.interactive.click_log import MAX_CLICKS
from sam_backend.protocol.labeling_config import MAX_CONFIG_LENGTH, MAX_NESTING, MAX_TAGS
from sam_backend.protocol.regions import MAX_CONTEXT_BYTES
from sam_backend.protocol.requests import MAX_TASKS
from sam_backend.settings import ENVIRONMENT, Settings
from sam_backend.web.asgi_adapter import SEND_S, SMALL_READ_S
from sam_backend.web.body_limits import SMALL_BODY_BYTES
from sam_backend.web.run_routes import MAX_FAILURES, MAX_PREVIEW_TASKS, MAX_RUNS
from sam_model.zoom import MAX_CROPS

PAGE = Path("docs/security.md").read_text()
# settings that bound what a request may cost
LIMITS = re.compile(r"SAM_(MAX_\w+|\w+_TIMEOUT_S|\w+_DEADLINE_S|\w+_WAIT_S|\w+_MIB|THREADS)")
FIXED: dict[str, Any] = {
    "bytes of any other request": SMALL_BODY_BYTES,
    "seconds to send its headers, or the body of any other request": SMALL_READ_S,
    "seconds to read an answer": SEND_S,
    "redirects of one image": MAX_REDIRECTS,
    "characters of a labeling config": MAX_CONFIG_LENGTH,
    "nested elements of a labeling config": MAX_NESTING,
    "image and control tags of a labeling config": MAX_TAGS,
    "tasks of one request": MAX_TASKS,
    "bytes of the prompts of one request": MAX_CONTEXT_BYTES,
    "images of one preview": MAX_PREVIEW_TASKS,
    "runs and failed tasks in one answer": min(MAX_RUNS, MAX_FAILURES),
    "requests in the list of last clicks": MAX_CLICKS,
    "crops for small objects in one request": MAX_CROPS,
}


def shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_each_limit_of_the_table_is_a_setting_with_that_default() -> None:
    fields = {variable: field for field, (variable, _) in ENVIRONMENT.items()}
    rows = re.findall(r"^\| ([^|]+) \| `([A-Z_]+)` \| ([^ |]+)[^|]*\|$", PAGE, re.M)

    for _, variable, default in rows:
        assert variable in fields, variable
        assert default == shown(getattr(Settings(), fields[variable])), variable
    documented = {variable for _, variable, _ in rows}
    assert documented == {variable for variable in fields if LIMITS.fullmatch(variable)}


def test_each_setting_that_the_page_names_exists() -> None:
    known = {variable for variable, _ in ENVIRONMENT.values()}

    assert set(re.findall(r"\b(?:SAM|LABEL_STUDIO)_[A-Z_]+\b", PAGE)) <= known


def test_each_fixed_limit_has_its_value() -> None:
    rows = dict(re.findall(r"^\| ([^|`]+?) \| ([\d,]+) \|$", PAGE, re.M))

    assert rows == {name: f"{value:,.0f}" for name, value in FIXED.items()}
