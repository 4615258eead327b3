"""A task's `data`: the fields that a project's tasks have, of which an answer reads the image's address only."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import DecodeError, Raw

from sam_backend.errors import BadRequestError
from sam_backend.protocol.typed_json import decoded, part, shown_json

LONGEST_ADDRESS = 64 * 1024  # bytes, unless the address holds the image itself (data: URIs)
MAX_PAGES = 10_000
MAX_LISTED_FIELDS = 1000


class TaskData(Mapping[str, Any]):
    """The JSON text of `data`, whose fields are decoded one by one as they are asked for.

    A field is a string, a list of strings, or None: addresses of images. Decoding costs at most its own bytes.
    """

    def __init__(self, json: bytes) -> None:
        """Take the text of a JSON object."""
        self._json = json

    def __getitem__(self, field: str) -> Any:
        """Return a field.

        Raises:
            KeyError: there is none.
            BadRequestError: it is neither a string nor a list of strings, or longer than any address.
        """
        raw = self._raw(field)
        where = f"data.{field}"
        view = memoryview(raw)
        start = bytes(view[:16]).lower()
        if start[:1] == b"[":
            if bytes(raw).count(b'"') > 2 * MAX_PAGES:
                raise BadRequestError(f"{where} has more than {MAX_PAGES} pages")
            _check_length(raw, where, may_hold_image=True)
            return decoded(raw, list[str], where)
        if start[:1] == b'"':
            _check_length(raw, where, may_hold_image=start.startswith(b'"data:'))
            return decoded(raw, str, where)
        if start == b"null":
            return None
        raise BadRequestError(f"{where} holds {shown_json(raw)}, which is no address of an image")

    def _raw(self, field: str) -> Raw:
        if len(field) > 1000 or not field.isprintable() or set(field) & {"\\", '"'}:  # msgspec has no such names
            found = self._fields().get(field, Raw(b""))
        else:
            try:
                found = part(self._json, field)
            except (DecodeError, RecursionError):
                raise BadRequestError("data cannot be read: nested too deeply, or not UTF-8") from None
        if not memoryview(found).nbytes:
            raise KeyError(field)
        return found

    def _fields(self) -> dict[str, Raw]:
        """All fields; none where there are more than `MAX_LISTED_FIELDS`."""
        if self._json.count(b":") > MAX_LISTED_FIELDS or len(self._json) > LONGEST_ADDRESS:
            return {}
        return decoded(self._json, dict[str, Raw], "data")

    def __iter__(self) -> Iterator[str]:
        """The names of the fields, for messages; none where there are too many to list."""
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())


def _check_length(raw: Raw, where: str, *, may_hold_image: bool) -> None:
    """Refuse text that takes more memory as a string than as JSON: up to four bytes a character."""
    size = memoryview(raw).nbytes
    if size > LONGEST_ADDRESS and not (may_hold_image and bytes(raw).isascii() and b"\\u" not in bytes(raw)):
        raise BadRequestError(f"{where} has {size} bytes, more than the longest address of an image, {LONGEST_ADDRESS}")
