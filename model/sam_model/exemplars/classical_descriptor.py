"""A descriptor without weights: colours, gradient orientations and shape of a region.

Brightness, size and rotation change it little. Numbers are spread over bins, so that the cosine of two descriptors
falls with their difference.

Source: colour histograms, Swain & Ballard, IJCV 1991; moments, Hu, IRE Transactions on Information Theory 1962.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.exemplars.descriptors import Descriptors, unit_length
from sam_model.types import Image, Mask

VERSION = 1
MAX_SIDE = 512  # pixels of the copy of the image that is described
CHROMA_BINS, LIGHTNESS_BINS, SHAPE_BINS, ORIENTATIONS = 11, 4, 8, 32
CHROMA_RANGE = 1.0  # of a / (L + 16) and b / (L + 16), which a change of brightness leaves as they are
HARMONICS = 8  # of the histogram of orientations; their amplitudes do not change with rotation
WEIGHTS = {"colour": 0.5, "lightness": 0.05, "orientation": 0.15, "shape": 0.3}  # of the parts in the cosine

Floats = NDArray[np.floating[Any]]


class ClassicalDescriber:
    """Colour, gradient and shape as a `sam_model.exemplars.descriptors.Describer`."""

    name = "classical"
    fingerprint = f"classical-descriptor-{VERSION}"

    def describe(self, image: Image, embedding: Any, masks: Sequence[Mask]) -> Descriptors:
        """Return the descriptors (N, D); see `Describer.describe`."""
        height, width = image.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
        chroma: Floats = np.clip(lab[..., 1:] / (lab[..., :1] + 16) / CHROMA_RANGE, -1, 1)
        smooth = cv2.GaussianBlur(lab[..., 0], (0, 0), 1.0)
        gradient: Floats = np.stack([cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)], axis=2)
        return unit_length(np.stack([_described(lab, chroma, gradient, _reduced(mask, size)) for mask in masks]))


def _reduced(mask: Mask, size: tuple[int, int]) -> Mask:
    """Return the mask at `size` (width, height), with at least one pixel."""
    if mask.shape == (size[1], size[0]):
        return mask
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(share >= min(0.5, float(share.max())))


def _described(lab: Floats, chroma: Floats, gradient: Floats, mask: Mask) -> Floats:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    here = (slice(y, y + height), slice(x, x + width))
    inside = mask[here]
    parts = {
        "colour": _chroma_histogram(chroma[here][inside]),
        "lightness": _spread(lab[here][inside][:, 0] / 100, LIGHTNESS_BINS),
        "orientation": _orientation_harmonics(gradient[here][inside]),
        "shape": np.concatenate([_spread(np.array([value]), SHAPE_BINS) for value in _shape_numbers(inside)]),
    }
    return np.concatenate(
        [np.sqrt(WEIGHTS[name]) * part / max(float(np.linalg.norm(part)), 1e-9) for name, part in parts.items()]
    )


def _chroma_histogram(chroma: Floats) -> Floats:
    """Return the histogram of pixels (P, 2) in -1..1, with square roots, blurred over the bins."""
    spread = np.sign(chroma) * np.sqrt(np.abs(chroma))  # most colours are near grey
    places = np.clip(((spread + 1) / 2 * CHROMA_BINS).astype(int), 0, CHROMA_BINS - 1)
    counts = np.bincount(places[:, 0] * CHROMA_BINS + places[:, 1], minlength=CHROMA_BINS**2)
    histogram = (counts / max(1, counts.sum())).reshape(CHROMA_BINS, CHROMA_BINS).astype(np.float32)
    blurred: Floats = np.sqrt(cv2.GaussianBlur(histogram, (0, 0), 0.7, borderType=cv2.BORDER_CONSTANT)).ravel()
    return blurred


def _spread(values: Floats, bins: int) -> Floats:
    """Return the mean share of values (P,) in 0..1 in each of `bins` bins; a value counts in its two nearest."""
    place = np.clip(values, 0, 1) * (bins - 1)
    low = np.minimum(place.astype(int), bins - 2)
    above = place - low
    counts = np.bincount(low, 1 - above, bins) + np.bincount(low + 1, above, bins)
    return np.asarray(np.sqrt(counts / max(1, len(values))))


def _orientation_harmonics(gradient: Floats) -> Floats:
    """Return the amplitudes (HARMONICS,) of the histogram of gradient orientations of pixels (P, 2)."""
    strength = np.hypot(gradient[:, 0], gradient[:, 1])
    angle = np.arctan2(gradient[:, 1], gradient[:, 0]) % (2 * np.pi)
    places = (angle / (2 * np.pi) * ORIENTATIONS).astype(int) % ORIENTATIONS
    histogram = np.bincount(places, strength, ORIENTATIONS)
    amplitudes: Floats = np.abs(np.fft.rfft(histogram / max(float(histogram.sum()), 1e-9)))[:HARMONICS]
    return amplitudes


def _shape_numbers(mask: Mask) -> list[float]:
    """Return numbers of a mask's shape in about 0..1 that do not change with size and rotation."""
    area = float(np.count_nonzero(mask))
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    hu = cv2.HuMoments(moments).ravel()
    outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)
    filled = sum(cv2.contourArea(each) + len(each) / 2 + 1 for each in outlines)
    hull = cv2.convexHull(np.concatenate(outlines))
    hull_area = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    (_, _), (one, other), _ = cv2.minAreaRect(outline)
    length = cv2.arcLength(outline, True)
    return [
        area / hull_area,
        area / filled,
        (min(one, other) + 1) / (max(one, other) + 1),
        area / ((one + 1) * (other + 1)),
        2 * float(np.sqrt(np.pi * area)) / max(length, 1.0),
        float(np.clip(-np.log10(abs(hu[0]) + 1e-9), 0, 1)),
        float(np.clip(-np.log10(abs(hu[1]) + 1e-9) / 6, 0, 1)),
    ]
