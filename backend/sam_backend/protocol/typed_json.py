"""Untrusted JSON, decoded by msgspec into typed structs.

Fields that no struct has are skipped and take no memory, such as a task's annotations. Errors of msgspec become
`BadRequestError`s that name field and value, such as `params.context.result[3].value.x must be a number, not 'abc'`.
"""

import re
from collections.abc import Hashable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw
from msgspec.json import Decoder

from sam_backend.errors import BadRequestError
from sam_backend.protocol.fields import shown
from sam_backend.redaction import mask_userinfo

T = TypeVar("T")
Json = bytes | bytearray | memoryview | Raw

MISSING = Raw(b"")  # default of a Raw field that is missing in the JSON
_MAX_SHOWN_BYTES = 4096  # of a value in an error message, before it is shortened
_MAX_INDEX = 1000  # of an array element that an error message shows
_TYPE_NAMES = {
    "object": "a JSON object",
    "array": "a JSON array",
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
_KIND = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_LIMIT = re.compile(r"Expected `\w+` (>=|<=) (\S+)")
_MISSING_FIELD = re.compile(r"Object missing required field `([^`]+)`")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


@lru_cache(maxsize=32)  # more than the types of this package
def _decoder(kind: Hashable) -> Decoder[Any]:
    return Decoder(kind)


def decoded(data: Json, kind: type[T], field: str = "") -> T:
    """Decode JSON as the type `kind`; `field` is its path in the body, for messages.

    Raises:
        BadRequestError: the text is not JSON, or not of that type; the message names field and value.
    """
    try:
        found: T = _decoder(kind).decode(data)  # type: ignore[arg-type]  # types and aliases are hashable
        return found
    except msgspec.ValidationError as error:
        raise BadRequestError(_explained(data, str(error), field)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{field or 'the body'} is not JSON: {error}") from None
    except RecursionError:
        raise BadRequestError(f"{field or 'the body'} is nested too deeply") from None


def text(data: Raw, field: str, max_bytes: int) -> str:
    """Decode a JSON string of at most `max_bytes` bytes, escapes included.

    Raises:
        BadRequestError: it is longer, or not a string.
    """
    size = memoryview(data).nbytes
    if size > max_bytes:
        raise BadRequestError(f"{field} has {size} bytes, more than {max_bytes}")
    return decoded(data, str, field)


def optional_text(data: Raw, field: str, max_bytes: int) -> str | None:
    """Decode a JSON string as `text` does; return None if it is null or missing.

    Raises:
        BadRequestError: it is longer, or neither a string nor null.
    """
    return None if is_null(data) else text(data, field, max_bytes)


def is_null(data: Raw) -> bool:
    """Return whether a field is null or missing."""
    return memoryview(data).nbytes in (0, 4) and bytes(data) in (b"", b"null")


def part(data: Json, step: str | int) -> Raw:
    """Return the JSON text of a field of an object, or of an element of an array; `MISSING` if there is none.

    The other fields or elements are skipped.

    Raises:
        msgspec.DecodeError: `data` is neither an object nor an array, or not JSON.
    """
    found: Raw = _part_decoder(step).decode(data).part  # type: ignore[attr-defined]
    return found


@lru_cache(maxsize=128)
def _part_decoder(step: str | int) -> Decoder[msgspec.Struct]:
    if isinstance(step, int):
        before = [(f"_{i}", Raw, MISSING) for i in range(step)]
        return Decoder(msgspec.defstruct("Part", [*before, ("part", Raw, MISSING)], array_like=True))
    return Decoder(msgspec.defstruct("Part", [("part", Raw, msgspec.field(default=MISSING, name=step))]))


def _explained(data: Json, message: str, field: str) -> str:
    """Translate a message of msgspec, such as `Expected ..., got ... - at `$.path``."""
    what, _, path = message.partition(" - at `$")
    path = path.removesuffix("`")
    where = (field + path).removeprefix(".") or "the body"
    if missing := _MISSING_FIELD.match(what):
        return f"{where}.{missing[1]} is missing".removeprefix("the body.")
    value = _value_at(data, path)
    if kind := _KIND.match(what):
        needed = " or ".join(_TYPE_NAMES.get(one, one) for one in kind[1].split(" | "))
        return f"{where} must be {needed}, not {value or kind[2]}"
    if limit := _LIMIT.match(what):
        side = "less" if limit[1] == ">=" else "more"
        return f"{where}={value} is {side} than {float(limit[2]):g}"
    if "multiple of 1" in what:
        return f"{where}={value} is not a whole number"
    return f"{where}={value}: {what[:1].lower()}{what[1:]}"


def _value_at(data: Json, path: str) -> str:
    """Return the value at a path of msgspec, for a message; empty if its index is too large."""
    try:
        for step in _steps(path):
            if isinstance(step, int) and step > _MAX_INDEX:
                return ""
            data = part(data, step)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return shown_json(data)


def _steps(path: str) -> Iterator[str | int]:
    for name, index in _STEP.findall(path):
        yield name or int(index)


def shown_json(data: Json) -> str:
    """Return a JSON value for an error message: shortened, and without the password of a URL."""
    start = bytes(memoryview(data)[: _MAX_SHOWN_BYTES + 1])
    if len(start) <= _MAX_SHOWN_BYTES:
        try:
            return shown(msgspec.json.decode(start))
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            pass
    text = mask_userinfo(start.decode(errors="replace"))
    return text if len(text) <= 80 else text[:77] + "..."
