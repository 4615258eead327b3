import pytest

from sam_backend.redaction import escape_control_characters, mask_userinfo


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://ann:secret@host/a.png", "http://***@host/a.png"),
        ("got 'HTTP://ann:secret@host' and //bob:secret@other/x", "got 'HTTP://***@host' and //***@other/x"),
        ("http://secret@host", "http://***@host"),
        ("http://ann:se@cret@host/", "http://***@host/"),
        ("http://ann:sec/ret@host/", "http://***@host/"),
        ("http://ann:sec?ret#@[::1", "http://***@[::1"),
        ("http:\\\\ann:secret@host", "http:\\\\***@host"),
    ],
)
def test_a_urls_user_and_password_are_masked(text: str, shown: str) -> None:
    assert mask_userinfo(text) == shown


@pytest.mark.parametrize(
    "text",
    ["http://host:8080/logo@2x.png", "http://host/a@b", "ann@example.org", "http://host/?mail=a@b", "http://host"],
)
def test_other_at_signs_stay(text: str) -> None:
    assert mask_userinfo(text) == text


def test_masking_a_hostile_text_takes_linear_time() -> None:
    assert mask_userinfo("//:" * 300_000 + " @").endswith(" @")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\nb\r\x1b[2Jc\x00", r"a\nb\r\x1b[2Jc\x00"),
        ("\x85\u2028\u2029\x9b", r"\x85\u2028\u2029\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("Grüße, 東京 🙂", "Grüße, 東京 🙂"),
    ],
)
def test_what_is_not_printable_becomes_an_escape(text: str, escaped: str) -> None:
    assert escape_control_characters(text) == escaped
