"""Drawn images with objects of three classes, which differ in shape or colour; size, rotation and light vary."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Image, Mask

WIDTH, HEIGHT = 480, 360
CELLS = (4, 3)  # columns and rows: an object has a cell for itself
RADII = (22.0, 46.0)  # pixels
BRIGHTNESS = (0.65, 1.2)  # of an image
RED, BLUE, GREEN = (205, 60, 50), (50, 95, 190), (60, 150, 70)


@dataclass(frozen=True)
class DrawnClass:
    """A class of objects: its shape, one of star, ring and bar, and its colour."""

    shape: str
    colour: tuple[int, int, int]


STAR, RING, BAR = DrawnClass("star", RED), DrawnClass("ring", BLUE), DrawnClass("bar", GREEN)
CLASSES = (STAR, RING, BAR)  # each of another shape and colour
ALIKE = (STAR, DrawnClass("ring", RED), DrawnClass("star", BLUE))  # the others share colour or shape with the first


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """An object: its class and its mask (H, W)."""

    kind: DrawnClass
    mask: Mask


def drawn_classes(seed: int, classes: Sequence[DrawnClass] = CLASSES) -> tuple[Image, list[DrawnObject]]:
    """Return an image (H, W, 3) with one to three objects of each class on a rough background, and the objects."""
    random = np.random.default_rng(seed)
    image = _background(random)
    places = [(column, row) for row in range(CELLS[1]) for column in range(CELLS[0])]
    random.shuffle(places)
    objects = []
    for kind in classes:
        for _ in range(int(random.integers(1, 4))):
            column, row = places.pop()
            centre = ((column + 0.5) * WIDTH / CELLS[0], (row + 0.5) * HEIGHT / CELLS[1])
            mask = _shape_mask(kind.shape, centre, float(random.uniform(*RADII)), float(random.uniform(0, 360)))
            shade = np.linspace(0.85, 1.15, WIDTH)[None, :, None] if random.random() < 0.5 else 1.0
            colour = np.array(kind.colour) * shade * np.ones((HEIGHT, WIDTH, 1))
            image[mask] = (colour + random.normal(0, 6, colour.shape))[mask]
            objects.append(DrawnObject(kind, mask))
    lit = image * random.uniform(*BRIGHTNESS) + random.normal(0, 3, image.shape)
    return np.asarray(cv2.GaussianBlur(np.clip(lit, 0, 255).astype(np.uint8), (0, 0), 0.7), np.uint8), objects


def _shape_mask(shape: str, centre: tuple[float, float], radius: float, degrees: float) -> Mask:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = centre
    if shape == "ring":
        cv2.circle(drawn, (round(x), round(y)), round(radius), 1, -1)
        cv2.circle(drawn, (round(x), round(y)), round(0.45 * radius), 0, -1)
    elif shape == "bar":
        corners = cv2.boxPoints(((x, y), (2 * radius, 0.6 * radius), degrees))
        cv2.fillPoly(drawn, [np.round(corners).astype(np.int32)], 1)
    else:
        angles = np.radians(degrees + np.arange(10) * 36)
        reach = np.where(np.arange(10) % 2 == 0, radius, 0.45 * radius)
        points = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
        cv2.fillPoly(drawn, [np.round(points).astype(np.int32)], 1)
    return drawn.view(np.bool_)


def _background(random: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth mixture of greys and browns with noise (H, W, 3)."""
    coarse = random.uniform(110, 190, (4, 5, 1)) + random.uniform(-15, 15, (4, 5, 3))
    smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth + random.normal(0, 5, smooth.shape), np.float64)
