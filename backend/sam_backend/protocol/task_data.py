"""A task's `data`: its fields are decoded when they are read. Only the addresses of images are."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import DecodeError, Raw

from sam_backend.errors import BadRequestError
from sam_backend.protocol.typed_json import decoded, part, shown_json

MAX_ADDRESS_BYTES = 64 * 1024  # except data: URIs, which contain the image
MAX_PAGES = 10_000
MAX_LISTED_FIELDS = 1000


class TaskData(Mapping[str, Any]):
    """The JSON text of `data`; a field is decoded when it is read.

    A field is a string, a list of strings, or None: addresses of images. Decoding takes no more memory than the text.
    """

    def __init__(self, json: bytes) -> None:
        """Keep the text of a JSON object."""
        self._json = json

    def __getitem__(self, field: str) -> Any:
        """Return a field.

        Raises:
            KeyError: there is no such field.
            BadRequestError: the field is neither a string nor a list of strings, or is too long.
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
        raise BadRequestError(f"{where}={shown_json(raw)} is not the address of an image")

    def _raw(self, field: str) -> Raw:
        if len(field) > 1000 or not field.isprintable() or set(field) & {"\\", '"'}:  # not supported by msgspec
            found = self._fields().get(field, Raw(b""))
        else:
            try:
                found = part(self._json, field)
            except (DecodeError, RecursionError):
                raise BadRequestError("could not read data: nested too deeply, or not UTF-8") from None
        if not memoryview(found).nbytes:
            raise KeyError(field)
        return found

    def _fields(self) -> dict[str, Raw]:
        """Return all fields; none if there are more than `MAX_LISTED_FIELDS`."""
        if self._json.count(b":") > MAX_LISTED_FIELDS or len(self._json) > MAX_ADDRESS_BYTES:
            return {}
        return decoded(self._json, dict[str, Raw], "data")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields, for messages; none if there are too many."""
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())


def _check_length(raw: Raw, where: str, *, may_hold_image: bool) -> None:
    """Refuse long text unless it is ASCII: other text takes up to four bytes per character as a string."""
    size = memoryview(raw).nbytes
    if size > MAX_ADDRESS_BYTES and not (may_hold_image and bytes(raw).isascii() and b"\\u" not in bytes(raw)):
        raise BadRequestError(f"{where} has {size} bytes; the address of an image has at most {MAX_ADDRESS_BYTES}")
