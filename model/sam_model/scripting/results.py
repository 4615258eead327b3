"""Results of a call: masks with scores, boxes and outlines, which can be drawn, saved and sent to Label Studio."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sam_model.masks.boxes import Boxes, box_from_mask
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.masks.overlay import draw_overlay
from sam_model.masks.polygons import Outline, Polygon, polygons_from_mask
from sam_model.types import Image, Mask, Prompt, ScoredMask

EncodeMask = Callable[[Mask], Sequence[int]]


@dataclass(frozen=True, eq=False)
class Results:
    """The N masks of one image. They are kept as run lengths: 100 masks of 12 megapixels would take 1.2 GB.

    `results[0]` and iteration return the object itself, because Ultralytics' documentation returns a list with one
    entry per image.
    """

    image: Image  # RGB uint8 (H, W, 3), the source
    run_lengths: tuple[RunLengths, ...]  # N masks
    scores: NDArray[np.float32]  # (N,) predicted IoU
    boxes: Boxes  # (N, 4) in pixels, zeros around an empty mask
    low_res_logits: NDArray[np.float32] | None  # (N, 256, 256), can be passed as `masks`; None if the model has none
    prompts: tuple[Prompt, ...]  # the prompts; empty if everything was segmented
    model: str  # name of the model

    def __getitem__(self, index: int) -> "Results":
        if index not in (0, -1):
            raise IndexError(f"index {index}: there is only one image")
        return self

    @property
    def masks(self) -> NDArray[np.bool_]:
        """All masks (N, H, W), computed at each access. To save memory, use `run_lengths` one by one."""
        masks = np.zeros((len(self.run_lengths), *self.image.shape[:2]), dtype=bool)
        for index, lengths in enumerate(self.run_lengths):
            masks[index] = lengths.mask
        return masks

    @property
    def polygons(self) -> list[list[Polygon]]:
        """The exact polygons of each mask's regions, with their holes."""
        return [polygons_from_mask(lengths.mask) for lengths in self.run_lengths]

    def plot(self) -> Image:
        """Return the image with masks, points and boxes drawn over it, RGB uint8 (H, W, 3)."""
        return draw_overlay(self.image, self.run_lengths, self.prompts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `plot()` to an image file; the file name's extension decides the format.

        Raises:
            ValueError: the extension is unknown.
        """
        PIL.Image.fromarray(self.plot()).save(path)

    def to_label_studio(
        self,
        label: str = "Object",
        from_name: str = "label",
        to_name: str = "image",
        encode_mask: EncodeMask | None = None,
        tolerance: float = 1.0,
    ) -> dict[str, Any]:
        """Return a prediction in Label Studio's import format, for a task's `predictions`.

        With `encode_mask`, the regions are brush regions. Otherwise they are polygons, one per region of a mask,
        without holes.

        Args:
            label: of every region, as in the labeling config.
            from_name: name of the config's control tag, `BrushLabels` or `PolygonLabels`.
            to_name: name of its `Image` tag.
            encode_mask: converts a mask (H, W) to the numbers of a brush region, such as
                `sam_backend.shapes.brush_rle.encode_mask`.
            tolerance: maximum deviation of a polygon from the mask's edge, in pixels.
        """
        regions = []
        for index, lengths in enumerate(self.run_lengths):
            mask = lengths.mask
            if encode_mask is not None:
                values = [("brushlabels", {"format": "rle", "rle": list(encode_mask(mask))})]
            else:
                outlines = [polygon.outer for polygon in polygons_from_mask(mask, tolerance)]
                values = [("polygonlabels", self._polygon(outline)) for outline in outlines if len(outline) > 2]
            for part, (kind, value) in enumerate(values):
                regions.append(
                    {
                        "id": f"mask-{index}-{part}",
                        "type": kind,
                        "from_name": from_name,
                        "to_name": to_name,
                        "original_width": self.image.shape[1],
                        "original_height": self.image.shape[0],
                        "image_rotation": 0,
                        "score": float(self.scores[index]),
                        "value": {**value, kind: [label]},
                    }
                )
        score = float(self.scores.mean()) if len(self.scores) else 0.0
        return {"model_version": self.model, "score": score, "result": regions}

    def _polygon(self, outline: Outline) -> dict[str, Any]:
        percent = outline * (100 / np.array(self.image.shape[1::-1]))
        return {"points": percent.tolist(), "closed": True}


def results_from_masks(image: Image, found: Iterable[ScoredMask], prompts: Sequence[Prompt], model: str) -> Results:
    """Return the results of `prompts`, including all candidates if the prompts asked for several."""
    masks = [candidate for best in found for candidate in (best, *best.alternatives)]
    logits = [mask.low_res_logits for mask in masks]
    known = [one for one in logits if one is not None]
    return Results(
        image=image,
        run_lengths=tuple(run_lengths_from_mask(mask.mask) for mask in masks),
        scores=np.array([mask.score for mask in masks], dtype=np.float32),
        boxes=np.array([box_from_mask(mask.mask) or (0, 0, 0, 0) for mask in masks], np.float32).reshape(-1, 4),
        low_res_logits=np.stack(known) if masks and len(known) == len(masks) else None,
        prompts=tuple(prompts),
        model=model,
    )
