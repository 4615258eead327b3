"""Counts how often a mask decoder computes what all prompts of an image share."""

from typing import Any

import pytest

from sam_model.sam.two_way_transformer import TwoWayTransformer


def counted_preparations(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that gets an item for each computation, of any model."""
    calls: list[None] = []
    prepare = TwoWayTransformer.prepare

    def counted(self: TwoWayTransformer, *inputs: Any) -> Any:
        calls.append(None)
        return prepare(self, *inputs)

    monkeypatch.setattr(TwoWayTransformer, "prepare", counted)
    return calls
