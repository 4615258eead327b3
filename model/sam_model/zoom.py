"""Small objects in large images: the segmenter sees a part of the image at its full resolution.

A segmenter scales an image down to its input, 1024 pixels for SAM. An object of 20 pixels in an image of 4000 has then
5 pixels. So for such an object a square part of the image around the prompt, a crop, is segmented too, and the better
of the two masks is the answer. A second crop follows if the object is small in the first one as well.

The choice depends on the image's size, the prompt and the answers alone, so equal requests have equal answers. The
functions are pure: the caller cuts, embeds and caches the crops.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sam_model.types import Box, Image, Mask, Prompt, ScoredMask

SMALL_SHARE = 1 / 30  # of the image's long side: a smaller object is small
MIN_SIDE = 128  # pixels of a crop; sides are MIN_SIDE times a power of two
SIDES_PER_EXTENT = 6  # a crop is at least so many times as large as its object
MAX_SHARE = 1 / 2  # of the long side: a larger crop shows too little more
UNCERTAIN_SCORE = 0.6  # a click with a lower score may be on an object that is too small to be seen
UNCERTAIN_SIDE = 2048  # long side of an image from which on such a click is looked at in a crop
UNCERTAIN_SHARE = 1 / 8  # of the long side: the first crop for such a click, at most
SAME_OBJECT_IOU = 0.5  # masks of one object, one of them more exact
SCORE_TOLERANCE = 0.1  # by which the closer mask's score may be lower: scores of different crops differ a little
MAX_CROPS = 2


@dataclass(frozen=True)
class Crop:
    """A part of an image, in its pixels."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int

    def cut(self, image: Image) -> Image:
        """Return the part of an image (H, W, 3), as an array of its own."""
        return image[self.y_min : self.y_max, self.x_min : self.x_max].copy()

    def prompt(self, prompt: Prompt) -> Prompt:
        """Return a prompt in the crop's pixels, without the negative points outside of the crop."""
        inside = (
            replace(point, x=point.x - self.x_min, y=point.y - self.y_min)
            for point in prompt.points
            if point.is_positive or self._holds(point.x, point.y)
        )
        box = prompt.box
        if box is not None:
            box = (box[0] - self.x_min, box[1] - self.y_min, box[2] - self.x_min, box[3] - self.y_min)
        return replace(prompt, points=tuple(inside), box=box, mask_input=None, mask=None)

    def paste(self, mask: Mask, image_size: tuple[int, int]) -> Mask:
        """Return a mask of the crop as a mask of the image, of `image_size` (height, width)."""
        whole = np.zeros(image_size, dtype=bool)
        whole[self.y_min : self.y_max, self.x_min : self.x_max] = mask
        return whole

    def cuts_off(self, mask: Mask, image_size: tuple[int, int]) -> bool:
        """Return whether a mask of the crop reaches an edge of the crop that is no edge of the image."""
        height, width = image_size
        return bool(
            (self.x_min > 0 and mask[:, 0].any())
            or (self.y_min > 0 and mask[0].any())
            or (self.x_max < width and mask[:, -1].any())
            or (self.y_max < height and mask[-1].any())
        )

    def _holds(self, x: float, y: float) -> bool:
        return self.x_min <= x < self.x_max and self.y_min <= y < self.y_max


Look = Callable[[Crop, Prompt], ScoredMask | None]  # segments a prompt in a crop; None if it may not


def segment_closely(answer: ScoredMask, prompt: Prompt, image_size: tuple[int, int], look: Look) -> ScoredMask:
    """Return the better one of an answer for the whole image and the answers for up to `MAX_CROPS` crops.

    Args:
        answer: of the whole image, for `prompt`.
        prompt: in pixels of the image.
        image_size: (height, width).
        look: called for each crop, with the prompt in the crop's pixels; None ends the search.
    """
    best, crop = answer, first_crop(answer, prompt, image_size)
    for _ in range(MAX_CROPS):
        if crop is None:
            break
        found = look(crop, crop.prompt(prompt))
        if found is None or not found.mask.any() or crop.cuts_off(found.mask, image_size):
            break
        if is_better(found, crop, best):
            best = ScoredMask(crop.paste(found.mask, image_size), found.score)
        crop = closer_crop(crop, found, prompt, image_size)
    return best


def first_crop(answer: ScoredMask, prompt: Prompt, image_size: tuple[int, int]) -> Crop | None:
    """Return the crop to segment after the whole image; None if the object is not small."""
    long_side = max(image_size)
    prompted = _bounds_of_prompt(prompt)
    if prompted is None or _extent(prompted) >= SMALL_SHARE * long_side:
        return None
    if prompt.box is not None:
        return _crop(prompted, _side_for(_extent(prompted)), image_size)
    window = _window(prompted, SMALL_SHARE * long_side, image_size)
    area, near = np.count_nonzero(answer.mask), answer.mask[window.y_min : window.y_max, window.x_min : window.x_max]
    if area and area == np.count_nonzero(near):  # else the mask is larger; its bounds would take longer to find
        found = _union(prompted, _bounds(near, window))
        if _extent(found) < SMALL_SHARE * long_side:
            return _crop(found, _side_for(_extent(found)), image_size)
    is_uncertain = answer.score < UNCERTAIN_SCORE or not area
    if is_uncertain and long_side >= UNCERTAIN_SIDE:
        side = MIN_SIDE << int(math.log2(UNCERTAIN_SHARE * long_side / MIN_SIDE))
        return _crop(prompted, max(side, _side_for(_extent(prompted))), image_size)
    return None


def closer_crop(crop: Crop, found: ScoredMask, prompt: Prompt, image_size: tuple[int, int]) -> Crop | None:
    """Return a smaller crop for an object that is small in `crop` too, or uncertain; None otherwise.

    `found` is the answer for the crop, in the crop's pixels.
    """
    prompted, side = _bounds_of_prompt(prompt), max(crop.x_max - crop.x_min, crop.y_max - crop.y_min)
    if prompt.box is not None or prompted is None:
        return None
    if found.score >= UNCERTAIN_SCORE:
        bounds = _union(prompted, _bounds(found.mask, crop))
        smaller = _side_for(_extent(bounds))
        return _crop(bounds, smaller, image_size) if smaller < side else None
    smaller = max(_side_for(_extent(prompted)), side // 4)
    return _crop(prompted, smaller, image_size) if smaller < side else None


def is_better(found: ScoredMask, crop: Crop, answer: ScoredMask) -> bool:
    """Return whether the answer for a crop shows the same object as an answer for the image, or has no lower score."""
    inside = answer.mask[crop.y_min : crop.y_max, crop.x_min : crop.x_max]
    common = np.count_nonzero(found.mask & inside)
    union = np.count_nonzero(found.mask) + np.count_nonzero(answer.mask) - common
    return common >= SAME_OBJECT_IOU * union or found.score >= answer.score - SCORE_TOLERANCE


def _side_for(extent: float) -> int:
    """Return the side of a crop for an object of `extent` pixels."""
    doublings = math.ceil(math.log2(max(1.0, SIDES_PER_EXTENT * extent / MIN_SIDE)))
    return MIN_SIDE << doublings


def _crop(bounds: Box, side: int, image_size: tuple[int, int]) -> Crop | None:
    """Return a crop around a box, the same for near prompts; None if it would not be much smaller than the image."""
    height, width = image_size
    if side > MAX_SHARE * max(image_size):
        return None
    x_min, x_max = _interval((bounds[0] + bounds[2]) / 2, side, width)
    y_min, y_max = _interval((bounds[1] + bounds[3]) / 2, side, height)
    return Crop(x_min, y_min, x_max, y_max)


def _interval(centre: float, side: int, length: int) -> tuple[int, int]:
    """Return `side` pixels around `centre`, on a grid of a quarter of the side."""
    step = side // 4
    start = min(max(0, round((centre - side / 2) / step) * step), max(0, length - side))
    return start, min(length, start + side)


def _bounds_of_prompt(prompt: Prompt) -> Box | None:
    if prompt.box is not None:
        return prompt.box
    positive = [point for point in prompt.points if point.is_positive]
    if not positive:
        return None
    xs, ys = [point.x for point in positive], [point.y for point in positive]
    return (min(xs), min(ys), max(xs), max(ys))


def _window(bounds: Box, margin: float, image_size: tuple[int, int]) -> Crop:
    """Return the part of the image within `margin` pixels of a box."""
    height, width = image_size
    x_min, y_min = max(0, math.floor(bounds[0] - margin)), max(0, math.floor(bounds[1] - margin))
    return Crop(x_min, y_min, min(width, math.ceil(bounds[2] + margin)), min(height, math.ceil(bounds[3] + margin)))


def _bounds(mask: Mask, crop: Crop) -> Box | None:
    """Return the box around a mask of a crop, in the image's pixels; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return (
        float(columns[0] + crop.x_min),
        float(rows[0] + crop.y_min),
        float(columns[-1] + 1 + crop.x_min),
        float(rows[-1] + 1 + crop.y_min),
    )


def _union(box: Box, other: Box | None) -> Box:
    if other is None:
        return box
    return (min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3]))


def _extent(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])
