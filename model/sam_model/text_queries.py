"""The texts that a text detector is asked for."""

from collections.abc import Sequence


def check_texts(texts: Sequence[str]) -> None:
    """Raise a `ValueError` unless `texts` holds at least one text and no empty one."""
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"texts={texts!r}; needed: a list of one or more descriptions")
