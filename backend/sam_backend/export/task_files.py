"""Tasks with annotations as files for Label Studio's import: `tasks.json`, `tasks-2.json` and so on."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson

from sam_model.annotation.atomic_file import atomic_file

MAX_BYTES = 200_000_000  # of one file; Label Studio accepts 250 MB (DATA_UPLOAD_MAX_MEMORY_SIZE, core/settings/base.py)


def write_task_files(tasks: Iterable[dict[str, Any]], out: Path, max_bytes: int = MAX_BYTES) -> None:
    """Write tasks in Label Studio's import format; only one is in memory at a time."""
    with ExitStack() as stack:  # all files appear together, at the end
        files = [stack.enter_context(atomic_file(out / "tasks.json"))]
        for task in tasks:
            text = orjson.dumps(task)
            if files[-1].tell() and files[-1].tell() + len(text) > max_bytes:
                files.append(stack.enter_context(atomic_file(out / f"tasks-{len(files) + 1}.json")))
            files[-1].write((b",\n" if files[-1].tell() else b"[\n") + text)
        for file in files:
            file.write(b"\n]\n" if file.tell() else b"[]\n")
