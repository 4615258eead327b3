"""The keys and shapes of our models are the reference's; the golden lists of the other tests come from here."""

from pathlib import Path

import pytest
import torch

from sam_model.sam.sizes import SIZES
from sam_model.sam_checkpoints import empty_sam
from sam_testing.reference_pairs import REFERENCE_NAMES, reference_package
from sam_testing.seeded_checkpoints import key_lines

pytestmark = pytest.mark.parity

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_keys_and_shapes_are_the_reference_s(name: str) -> None:
    device = "cpu" if name == "mobile_sam" else "meta"  # its TinyViT reads numbers while it is made
    with torch.device(device):
        reference = reference_package(name).sam_model_registry[REFERENCE_NAMES[name]]()

    theirs = key_lines(reference.state_dict())

    assert key_lines(empty_sam(SIZES[name]).state_dict()) == theirs
    assert (GOLDEN / f"{name}_keys.txt").read_text().splitlines() == theirs
