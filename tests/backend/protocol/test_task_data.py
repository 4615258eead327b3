import json
from typing import Any

import pytest

from sam_backend.errors import BadRequestError
from sam_backend.protocol.task_data import MAX_ADDRESS_BYTES, TaskData


def data_of(value: dict[str, Any]) -> TaskData:
    return TaskData(json.dumps(value).encode())


@pytest.mark.parametrize("value", ["/a.png", "", "ä\n😀", None, ["/a.png", "/b.png"], []])
@pytest.mark.parametrize("field", ["image", "Bild ä", 'a"b', "a\\b", "a\nb", "x" * 2000])
def test_a_field_is_what_json_says(field: str, value: object) -> None:
    data = data_of({"other": [1, {}], field: value})

    assert data[field] == value
    assert data.get("missing") is None
    assert set(data) == {"other", field}


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (7, "data.image=7 is not the address"),
        (True, "data.image=True is not the address"),
        ({"a": 1}, "data.image={'a': 1} is not the address"),
        (["/a.png", {}], r"data\.image\[1\] must be a string, not {}"),
        ("x" * MAX_ADDRESS_BYTES, "data.image has 65538 bytes; the address of an image has at most"),
        ("data:image/png;base64,ä" + "x" * MAX_ADDRESS_BYTES, "the address of an image has at most"),
        (["a"] * 10_001, "data.image has more than 10000 pages"),
    ],
)
def test_a_field_that_holds_no_address_is_refused_when_it_is_asked_for(value: object, complaint: str) -> None:
    data = data_of({"image": value, "fine": "/a.png"})

    assert data["fine"] == "/a.png"
    with pytest.raises(BadRequestError, match=complaint):
        data["image"]


def test_an_address_that_holds_the_image_may_be_long() -> None:
    address = "data:image/png;base64," + "QUJD" * MAX_ADDRESS_BYTES

    assert data_of({"image": address})["image"] == address
    assert data_of({"image": [address, address]})["image"] == [address, address]


def test_of_very_many_fields_the_names_are_not_listed() -> None:
    data = data_of({f"field{i}": 1 for i in range(5000)} | {"image": "/a.png"})

    assert data["image"] == "/a.png"
    assert list(data) == []
