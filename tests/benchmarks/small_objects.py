"""Small objects in large images: IoU of clicks and rectangles with and without a crop at full resolution.

Ellipses of 8 to 40 pixels with a colour of their own are drawn on an uneven background with noise, in images of
4,000 x 3,000 pixels. One click in the middle, or the exact rectangle, prompts the classical segmenter. Both answers of
a row come from one call: the answer for the whole image is the input of the choice.
"""

import json
import time
from dataclasses import dataclass, field

import cv2
import numpy as np

from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.masks.overlap import iou_of_masks
from sam_model.types import Box, Image, Mask, Point, Prompt, ScoredMask
from sam_model.zoom import Crop, segment_closely

WIDTH, HEIGHT, OBJECTS, SIZES = 4000, 3000, 12, (8, 16, 24, 40)


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """An object: a point inside, its box, and its mask (H, W)."""

    x: int
    y: int
    box: Box
    mask: Mask


def drawn_image(size: int) -> tuple[Image, list[DrawnObject]]:
    """Return an image with ellipses of `size` pixels."""
    random = np.random.default_rng(size)
    image = cv2.resize(
        random.normal(0, 1, (HEIGHT // 40, WIDTH // 40, 3)).astype(np.float32),
        (WIDTH, HEIGHT),
        interpolation=cv2.INTER_CUBIC,
    )
    image = image * 18 + random.integers(80, 150) + random.normal(0, 6, (HEIGHT, WIDTH, 1))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    objects = []
    for _ in range(OBJECTS):
        x, y = int(random.integers(200, WIDTH - 200)), int(random.integers(200, HEIGHT - 200))
        drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
        axes = (size // 2, max(2, int(size // 2 * random.uniform(0.6, 1))))
        cv2.ellipse(drawn, (x, y), axes, float(random.uniform(0, 180)), 0, 360, 1, -1)
        mask = drawn.astype(bool)
        contrast = random.choice([-1, 1]) * random.integers(60, 90) * random.uniform(0.3, 1, 3)
        colours = pixels[y, x] + contrast + random.normal(0, 6, (np.count_nonzero(mask), 1))
        pixels[mask] = np.clip(colours, 0, 255)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        objects.append(DrawnObject(x, y, box, mask))
    return cv2.GaussianBlur(pixels, (0, 0), 0.7), objects


@dataclass
class Row:
    """The results for one size and kind of prompt."""

    whole: list[float] = field(default_factory=list)  # IoU
    closer: list[float] = field(default_factory=list)
    crops: int = 0
    seconds: float = 0.0  # added by the crops


def measured(segmenter: ClassicalSegmenter, size: int) -> dict[str, Row]:
    """Return the results for clicks and for rectangles on objects of one size."""
    image, objects = drawn_image(size)
    embedding = segmenter.embed(image)
    rows = {"click": Row(), "rectangle": Row()}
    for drawn in objects:
        for kind, prompt in (("click", Prompt((Point(drawn.x, drawn.y),))), ("rectangle", Prompt(box=drawn.box))):
            row = rows[kind]

            def look(crop: Crop, moved: Prompt, row: Row = row) -> ScoredMask:
                row.crops += 1
                (found,) = segmenter.segment(segmenter.embed(crop.cut(image)), [moved])
                return found

            (answer,) = segmenter.segment(embedding, [prompt])
            began = time.perf_counter()
            best = segment_closely(answer, prompt, embedding.image_size, look)
            row.seconds += time.perf_counter() - began
            row.whole.append(iou_of_masks(answer.mask, drawn.mask))
            row.closer.append(iou_of_masks(best.mask, drawn.mask))
    return rows


def main() -> None:
    """Measure all sizes; print a table and one line of JSON."""
    segmenter = ClassicalSegmenter()
    results = []
    print(f"{'size':>5} {'prompt':<10} {'whole image':>12} {'with crops':>11} {'crops':>6}")
    for size in SIZES:
        for kind, row in measured(segmenter, size).items():
            whole, closer = float(np.mean(row.whole)), float(np.mean(row.closer))
            print(f"{size:>5} {kind:<10} {whole:>12.2f} {closer:>11.2f} {row.crops / OBJECTS:>6.1f}")
            results.append(
                {
                    "pixels": size,
                    "prompt": kind,
                    "whole_iou": round(whole, 3),
                    "closer_iou": round(closer, 3),
                    "crops": round(row.crops / OBJECTS, 2),
                    "added_s": round(row.seconds / OBJECTS, 3),
                }
            )
    print(json.dumps({"benchmark": "small_objects", "image": [WIDTH, HEIGHT], "results": results}))


if __name__ == "__main__":
    main()
