"""Words that describe objects, such as "cat, red car=Vehicle", and the labels that they mean.

Words mean the label whose value, alias, hint or `predicted_values` they are, in any letter case; the only label of a
config; or the label after an equals sign.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sam_backend.errors import BadRequestError
from sam_backend.protocol.fields import shown
from sam_backend.protocol.labeling_config import ControlTag

MAX_WORDS = 100  # descriptions in one text
MAX_WORDS_LENGTH = 200  # characters of one description
MAX_TEXT_LENGTH = 10_000  # characters
MAX_LISTED_LABELS = 12  # in a message
_SEPARATORS = re.compile("[,;\r\n，；、]")


@dataclass(frozen=True)
class Words:
    """The description of some objects, and the label that a user wrote after it, if any."""

    text: str
    label: str | None = None


def parse_words(text: str) -> tuple[Words, ...]:
    """Parse descriptions that are separated by commas, semicolons or line ends, each with an optional `=Label`.

    White space around descriptions and labels is removed, and so are empty and repeated descriptions.

    Raises:
        BadRequestError: a description or label beside an equals sign is missing, or the text is too long.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise BadRequestError(f"the text has {len(text)} characters; the maximum is {MAX_TEXT_LENGTH}")
    found: dict[str, Words] = {}
    for part in _SEPARATORS.split(text):
        described = " ".join(part.split())
        label: str | None = None
        if "=" in described:
            described, _, label = (each.strip() for each in described.rpartition("="))
            if not described or not label:
                raise BadRequestError(f"{shown(part.strip())} needs words and a label, such as 'red car=Vehicle'")
        if len(described) > MAX_WORDS_LENGTH:
            raise BadRequestError(f"{shown(described)} has more than {MAX_WORDS_LENGTH} characters; use fewer words")
        if described:
            found.setdefault(described.casefold(), Words(described, label))
    if len(found) > MAX_WORDS:
        raise BadRequestError(f"the text has {len(found)} descriptions; the maximum is {MAX_WORDS}")
    return tuple(found.values())


def label_of_words(words: Words, tags: Sequence[ControlTag]) -> str:
    """Return the label that `words` mean, as Label Studio stores it; "" if the tags have no labels.

    Args:
        words: of `parse_words`.
        tags: the control tags that take the regions or have their labels.

    Raises:
        BadRequestError: no label is meant; names the known labels.
    """
    known = [pair for tag in tags for pair in tag.label_words]
    labels = list(dict.fromkeys(label for _, label in known))
    if any(tag.has_dynamic_labels for tag in tags):
        return words.label or _meant(words.text, known) or words.text
    if words.label is not None:
        label = _meant(words.label, known)
        if label is None:
            raise BadRequestError(f"{shown(words.label)} is not a label of the config; labels: {_listed(labels)}")
        return label
    label = _meant(words.text, known) or _meant(words.text, [pair for tag in tags for pair in tag.predicted_values])
    if label is not None:
        return label
    if len(labels) <= 1:
        return "".join(labels)
    raise BadRequestError(
        f"{shown(words.text)} is not a label of the config: add one, such as '{words.text}={labels[0]}'; "
        f"labels: {_listed(labels)}"
    )


def words_of_labels(tags: Iterable[ControlTag]) -> str:
    """Return words that mean all labels of the tags, for a text detector: each label's hint, alias or value."""
    words: dict[str, str] = {}
    for tag in tags:
        for name, label in tag.label_words:  # the value, then the alias, then the hint
            if "=" not in name and not _SEPARATORS.search(name):
                words[label] = name
    return ", ".join(list(words.values())[:MAX_WORDS])


def _meant(text: str, pairs: Iterable[tuple[str, str]]) -> str | None:
    """Return the label of the same name; if there is none, that of the same name in another letter case."""
    pairs = list(pairs)
    exact = next((label for name, label in pairs if name == text), None)
    folded = text.casefold()
    return exact or next((label for name, label in pairs if " ".join(name.split()).casefold() == folded), None)


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MAX_LISTED_LABELS} more" if len(labels) > MAX_LISTED_LABELS else ""
    return (", ".join(labels[:MAX_LISTED_LABELS]) or "none") + more
