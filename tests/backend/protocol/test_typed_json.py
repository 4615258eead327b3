from typing import Annotated

import pytest
from msgspec import Meta, Raw, Struct

from sam_backend.errors import BadRequestError
from sam_backend.protocol.typed_json import decoded, part, shown_json


class Inner(Struct):
    x: Annotated[float, Meta(ge=-10, le=10)]
    label: str | None = None
    pages: Annotated[float, Meta(ge=0, multiple_of=1)] | None = None


class Outer(Struct):
    items: list[Inner]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"items": [{"x": 1}, {"x": "abc"}]}', "f.items[1].x must be a number, not 'abc'"),
        ('{"items": [{"x": null}]}', "f.items[0].x must be a number, not None"),
        ('{"items": [{"x": 10.5}]}', "f.items[0].x=10.5 is more than 10"),
        ('{"items": [{"x": -11}]}', "f.items[0].x=-11 is less than -10"),
        ('{"items": [{"x": 1e999}]}', "f.items[0].x=1e999: number out of range"),
        ('{"items": [{"x": 1, "pages": 1.5}]}', "f.items[0].pages=1.5 is not a whole number"),
        ('{"items": [{"x": 1, "label": [true]}]}', "f.items[0].label must be a string or null, not [True]"),
        ('{"items": [{}]}', "f.items[0].x is missing"),
        ('{"items": {"a": 1}}', "f.items must be a JSON array, not {'a': 1}"),
        ("[1]", "f must be a JSON object, not [1]"),
        ('{"items": [', "f is not JSON: Input data was truncated"),
        ('{"items": [], "more": ' + "[" * 100_000, "f is nested too deeply"),
    ],
)
def test_errors_name_field_and_value(text: str, complaint: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        decoded(text.encode(), Outer, "f")

    assert str(caught.value) == complaint


def test_an_error_shows_little_of_a_long_value_and_no_password() -> None:
    body = '{"items": [{"x": "http://user:secret@host/' + "a" * 100_000 + '"}]}'

    with pytest.raises(BadRequestError) as caught:
        decoded(body.encode(), Outer)

    assert str(caught.value).startswith('items[0].x must be a number, not "http://***@host/aaa')
    assert len(str(caught.value)) < 200


def test_a_value_far_inside_an_array_is_not_looked_for() -> None:
    body = '{"items": [' + '{"x": 1},' * 2000 + '{"x": "abc"}]}'

    with pytest.raises(BadRequestError, match=r"items\[2000\]\.x must be a number, not str"):
        decoded(body.encode(), Outer)


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(BadRequestError, match="the body is not JSON"):
        decoded(b'{"items": [{"x": 1, "label": "\xff"}]}', Outer)


def test_a_part_of_json_is_its_text() -> None:
    assert bytes(part(b'{"a": 1, "b c": {"d": [2, 3]}, "e": 4}', "b c")) == b'{"d": [2, 3]}'
    assert bytes(part(b'[1, "x", 3]', 1)) == b'"x"'
    assert part(b"{}", "a") == Raw(b"")
    assert part(b"[1]", 1) == Raw(b"")


def test_what_cannot_be_decoded_is_shown_as_it_stands() -> None:
    assert shown_json(b'"\\ud800"') == '"\\ud800"'
