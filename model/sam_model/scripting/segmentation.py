"""SAM's results of one image: the mask of each prompt, or all masks.

As in Ultralytics 8.4, each mask is a class of its own, called by its number. Boxes go to the last pixels of the masks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sam_model.masks.boxes import box_from_mask
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.masks.stability import upscaled_mask_with_stability
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
from sam_model.sam.automatic_masks import segment_everything
from sam_model.sam.prompt_batches import batch_prompts
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.scripting.masks import EncodedMasks
from sam_model.scripting.prediction import Stopwatch
from sam_model.scripting.results import MaskDetails, Results
from sam_model.scripting.sources import SourceImage
from sam_model.types import Box, Detection, Image, Prompt, ScoredMask

STABILITY_OFFSET = 0.95  # distance of the two thresholds of the stability score, in logits, as in Ultralytics


@dataclass(frozen=True, eq=False)
class FoundMask:
    """A mask, before it becomes part of `Results`."""

    run_lengths: RunLengths
    box: Box | None  # around the mask, to the pixels' outer edges; None if the mask is empty
    score: float
    stability: float | None = None
    low_res_logits: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class SegmentationRequest:
    """What is asked of a SAM: the masks of prompts, or all masks."""

    prompts: tuple[Prompt, ...]  # empty for all masks; their mask inputs may be masks of any size
    automatic: AutomaticMaskSettings  # if there are no prompts
    conf: float = 0.25  # masks need a higher predicted IoU
    show_progress: bool = False


def segment_image(
    segmenter: SamSegmenter, image: SourceImage, request: SegmentationRequest, embedding: SamEmbedding | None = None
) -> Results:
    """Return the masks of an image.

    Args:
        segmenter: the model.
        image: BGR.
        request: prompts or settings.
        embedding: of the image, if there is one already.

    Raises:
        ValueError: a prompt is invalid for this image.
    """
    watch = Stopwatch()
    with watch.stage("preprocess"):
        rgb = np.ascontiguousarray(image.image[..., ::-1])
    prompts: tuple[Prompt, ...] = ()
    with watch.stage("inference"):
        if request.prompts:
            embedding = embedding or segmenter.embed(rgb)
            prompts = tuple(_with_low_res_mask(prompt, segmenter, embedding) for prompt in request.prompts)
            found = masks_of_prompts(segmenter, embedding, prompts)
        else:
            automatic = segment_everything(segmenter, rgb, request.automatic, request.show_progress)
            found = [FoundMask(one.run_lengths, one.box, one.predicted_iou, one.stability_score) for one in automatic]
    return masks_results(image, found, prompts, segmenter.name, request.conf, watch)


@torch.inference_mode()
def masks_of_prompts(segmenter: SamSegmenter, embedding: SamEmbedding, prompts: Sequence[Prompt]) -> list[FoundMask]:
    """Return the masks of each prompt, in the decoder's order: one, or three if the prompt asks for `multimask`.

    Only one mask at a time exists at full size.

    Raises:
        ValueError: a prompt is invalid for this image.
    """
    threshold = segmenter.model.mask_threshold
    found: dict[int, list[FoundMask]] = {}
    for batch in batch_prompts(
        prompts, embedding.image_size, segmenter.model.size.low_res, segmenter.prompts_per_batch
    ):
        answer = segmenter.low_res_masks(
            embedding, batch.points, batch.labels, batch.boxes, batch.mask_inputs, multimask=batch.multimask
        )
        for index, candidates, scores in zip(batch.indices, answer.logits, answer.iou_predictions, strict=True):
            found[index] = []
            for logits, score in zip(candidates, scores.tolist(), strict=True):
                mask, region, stability = upscaled_mask_with_stability(
                    logits.cpu().numpy(), *segmenter.mask_axes(embedding), threshold, STABILITY_OFFSET
                )
                left, top = region[1].start, region[0].start
                box = box_from_mask(mask)
                if box is not None:
                    box = (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
                run_lengths = run_lengths_from_mask(mask, (top, left), embedding.image_size)
                low_res = segmenter.mask_input_from(logits)
                found[index].append(FoundMask(run_lengths, box, score, stability, low_res))
    return [mask for index in range(len(prompts)) for mask in found[index]]


def masks_results(
    image: SourceImage,
    found: Sequence[FoundMask],
    prompts: Sequence[Prompt],
    model: str,
    conf: float,
    watch: Stopwatch | None = None,
) -> Results:
    """Return the results of an image: masks with a score above `conf`, in their order; the class is the number."""
    watch = watch or Stopwatch()
    with watch.stage("postprocess"):
        kept = [index for index, one in enumerate(found) if one.score > conf]
        rows = [(*_last_pixels(found[index].box), found[index].score, index) for index in kept]
        chosen = [found[index] for index in kept]
        size = (image.image.shape[0], image.image.shape[1])
        logits = [one.low_res_logits for one in chosen if one.low_res_logits is not None]
        stability = [one.stability for one in chosen if one.stability is not None]
        details = MaskDetails(
            model=model,
            prompts=tuple(prompts),
            low_res_logits=np.stack(logits) if chosen and len(logits) == len(chosen) else None,
            stability_scores=np.array(stability, np.float32) if chosen and len(stability) == len(chosen) else None,
        )
    return Results(
        image.image,
        image.path,
        {index: str(index) for index in range(len(found))},
        boxes=torch.tensor(rows, dtype=torch.float32).reshape(-1, 6),
        masks=EncodedMasks(tuple(one.run_lengths for one in chosen), size) if found else None,
        speed=watch.speed,
        details=details,
    )


def text_results(
    image: SourceImage,
    texts: Sequence[str],
    found: Sequence[tuple[Detection, ScoredMask]],
    model: str,
    watch: Stopwatch,
) -> Results:
    """Return the results of text prompts: the class is the number of the text, the score is the detector's."""
    masks = [mask.mask for _, mask in found]
    rows = [
        (*_last_pixels(box_from_mask(mask)), one.score, one.class_id)
        for (one, _), mask in zip(found, masks, strict=True)
    ]
    size = (image.image.shape[0], image.image.shape[1])
    logits = [mask.low_res_logits for _, mask in found if mask.low_res_logits is not None]
    return Results(
        image.image,
        image.path,
        dict(enumerate(texts)),
        boxes=torch.tensor(rows, dtype=torch.float32).reshape(-1, 6),
        masks=EncodedMasks(tuple(run_lengths_from_mask(mask) for mask in masks), size) if found else None,
        speed=watch.speed,
        details=MaskDetails(
            model,
            prompts=tuple(Prompt(box=one.box) for one, _ in found),
            low_res_logits=np.stack(logits) if found and len(logits) == len(found) else None,
        ),
    )


def results_from_masks(
    image: Image, scored: Iterable[ScoredMask], prompts: Sequence[Prompt], model: str, path: str = "image0.jpg"
) -> Results:
    """Return the masks of any segmenter as results, each with its alternatives after it.

    Args:
        image: RGB uint8 (H, W, 3).
        scored: masks of the image's size.
        prompts: the prompts that they answer.
        model: name of the segmenter.
        path: of the image.
    """
    found = [
        FoundMask(run_lengths_from_mask(one.mask), box_from_mask(one.mask), one.score, None, one.low_res_logits)
        for best in scored
        for one in (best, *best.alternatives)
    ]
    source = SourceImage(np.ascontiguousarray(image[..., ::-1]), path, None, 1)
    return masks_results(source, found, prompts, model, conf=-np.inf)


def _last_pixels(box: Box | None) -> Box:
    """Return a box that ends at its last pixels, as Ultralytics' boxes of masks do; zeros if there is none."""
    if box is None:
        return 0.0, 0.0, 0.0, 0.0
    return box[0], box[1], box[2] - 1, box[3] - 1


def _with_low_res_mask(prompt: Prompt, segmenter: SamSegmenter, embedding: SamEmbedding) -> Prompt:
    """Return a prompt whose mask input has the size of the decoder's logits."""
    mask, side = prompt.mask_input, segmenter.model.size.low_res
    if mask is None or mask.shape == (side, side):
        return prompt
    return replace(prompt, mask_input=low_res_mask(mask, embedding.input_size, segmenter.model.image_size, side))


def low_res_mask(
    mask: NDArray[np.float32], input_size: tuple[int, int], image_size: int, low_res: int
) -> NDArray[np.float32]:
    """Return a mask (h, w) of the whole image as a mask input (low_res, low_res) of the decoder.

    As in Ultralytics, it keeps its values, such as 0 and 1. They are not logits, so the prompt is weaker than
    `low_res_logits`.

    Args:
        mask: (h, w), any size.
        input_size: (height, width) of the image in the encoder's input.
        image_size: side of the encoder's input.
        low_res: side of the decoder's logits.
    """
    height, width = input_size
    framed = np.zeros((image_size, image_size), np.float32)
    framed[:height, :width] = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    small = torch.nn.functional.interpolate(torch.from_numpy(framed)[None, None], (low_res, low_res), mode="bilinear")
    return np.asarray(small[0, 0].numpy(), dtype=np.float32)
