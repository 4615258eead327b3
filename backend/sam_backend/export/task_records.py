"""Records of the tasks that an export has read, so that an interrupted export continues: one JSON line per task."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from sam_model.annotation.atomic_file import write_atomically


class TaskRecords:
    """The records in one folder; a context manager that keeps the file open."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        """Continue the records in `folder` if they were made with the same options, else begin anew."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path, known = folder / "tasks.jsonl", folder / "options.json"
        text = json.dumps(options, sort_keys=True).encode()
        if not known.exists() or known.read_bytes() != text:
            self._path.unlink(missing_ok=True)
            write_atomically(known, text)
        self._path.touch()
        self.last_task, self.count = 0, 0
        end = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the process was killed while it wrote this line
                end += len(line)
                self.last_task, self.count = int(orjson.loads(line)["task"]), self.count + 1
        self._file: BinaryIO = self._path.open("r+b")
        self._file.truncate(end)
        self._file.seek(end)

    def __enter__(self) -> "TaskRecords":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, record: dict[str, Any]) -> None:
        """Append the record of a task; `record["task"]` is larger than all before."""
        self._file.write(orjson.dumps(record) + b"\n")
        self.last_task, self.count = int(record["task"]), self.count + 1

    def flush(self) -> None:
        """Hand the records to the operating system."""
        self._file.flush()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the records in the order of their tasks; only one is in memory at a time."""
        self.flush()
        with self._path.open("rb") as file:
            for line in file:
                yield orjson.loads(line)
