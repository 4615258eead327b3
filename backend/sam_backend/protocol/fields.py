"""Fields of untrusted JSON, checked for type and range; errors name field and value."""

import math
from typing import Any

from sam_backend.errors import BadRequestError
from sam_backend.redaction import mask_userinfo


def shown(value: object) -> str:
    """Return a value for an error message: shortened, and without the password of a URL."""
    text = mask_userinfo(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def mapping(value: object, field: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        BadRequestError: the value is not one.
    """
    if not isinstance(value, dict):
        raise BadRequestError(f"{field} must be a JSON object, not {shown(value)}")
    return value


def listing(value: object, field: str) -> list[Any]:
    """Return a JSON array.

    Raises:
        BadRequestError: the value is not one.
    """
    if not isinstance(value, list):
        raise BadRequestError(f"{field} must be a JSON array, not {shown(value)}")
    return value


def text(value: object, field: str) -> str:
    """Return a JSON string.

    Raises:
        BadRequestError: the value is not one.
    """
    if not isinstance(value, str):
        raise BadRequestError(f"{field} must be a string, not {shown(value)}")
    return value


def optional_text(value: object, field: str) -> str | None:
    """Return a JSON string, or None for null.

    Raises:
        BadRequestError: the value is neither.
    """
    return None if value is None else text(value, field)


def number(value: object, field: str, low: float, high: float) -> float:
    """Return a finite number from `low` to `high`.

    Raises:
        BadRequestError: the value is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequestError(f"{field} must be a number, not {shown(value)}")
    if not low <= value <= high or not math.isfinite(value):  # in this order: an int may be too large for a float
        raise BadRequestError(f"{field}={shown(value)} is not between {low:g} and {high:g}")
    return float(value)


def whole_number(value: object, field: str, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`; 3.0 is read as 3.

    Raises:
        BadRequestError: the value is not one.
    """
    as_float = number(value, field, low, high)
    if as_float != int(as_float):
        raise BadRequestError(f"{field}={shown(value)} is not a whole number")
    return int(as_float)
