"""Removal of credentials and control characters from text of requests, for logs and messages."""

import re

# `user:password@` behind `//`. The second alternative is for passwords that hold a slash, which no URL parser takes;
# `//host:8080/a@b.png` is none of these.
_USERINFO = re.compile(
    r"(?<=[/\\]{2})"
    r"(?:[^\s/\\?#]{0,1000}@|[^\s/\\?#@:]{0,1000}:(?!\d{1,5}(?:[/\\?#]|$))[^\s@]{0,1000}@(?=[^\s@]))"
)


def mask_userinfo(text: str) -> str:
    """Return `text` with `***@` in place of the user name and password of every URL in it."""
    return _USERINFO.sub("***@", text) if "@" in text else text


def escape_control_characters(text: str) -> str:
    r"""Return `text` on one line: every character that is not printable becomes an escape such as `\n` or `\x1b`.

    That covers line breaks of every kind, terminal escapes, bidirectional overrides and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
