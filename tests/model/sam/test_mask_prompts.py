import numpy as np

from sam_model.sam.mask_prompts import CERTAIN, logits_from_mask
from sam_model.sam.sam import encoder_size


def test_a_mask_is_scaled_to_the_part_of_the_square_that_the_image_has() -> None:
    mask = np.zeros((300, 600), dtype=bool)
    mask[150:, 300:] = True

    logits = logits_from_mask(mask, encoder_size(mask.shape, 1024), 1024, 256)

    assert logits.shape == (256, 256)
    assert (logits[:64] == -CERTAIN).all()
    assert (logits[64:128, 128:] == CERTAIN).all()
    assert (logits[64:128, :128] == -CERTAIN).all()
    assert (logits[128:] == -CERTAIN).all()  # below the image
