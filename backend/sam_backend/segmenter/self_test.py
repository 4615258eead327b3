"""The self-test of a segmenter."""

from typing import Any

import numpy as np

from sam_model.interfaces import Segmenter
from sam_model.types import Point, Prompt

TEST_SIZE = (48, 64)  # height and width of the image, in pixels


def check_segmenter(segmenter: Segmenter[Any]) -> None:
    """Segment a gray image with a point and with a box, as a request would.

    Raises:
        Exception: any error of the segmenter; a ValueError if its masks have another size than the image.
    """
    height, width = TEST_SIZE
    embedding = segmenter.embed(np.full((height, width, 3), 128, np.uint8))
    prompts = [Prompt(points=(Point(width / 2, height / 2, True),)), Prompt(box=(8.0, 8.0, 40.0, 40.0))]
    shapes = [segmenter.segment(embedding, [prompt])[0].mask.shape for prompt in prompts]
    if shapes != [TEST_SIZE, TEST_SIZE]:
        raise ValueError(f"masks have the shapes {shapes}, expected: {TEST_SIZE}")
