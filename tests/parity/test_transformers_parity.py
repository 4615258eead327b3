"""Boxes and masks of an image equal those of transformers with its own processors, which need torchvision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_model.registry import load_segmenter, load_text_detector
from sam_model.transformers_models.grounding_dino import GroundingDinoDetector
from sam_model.transformers_models.owl import OwlDetector
from sam_model.transformers_models.roi_align import roi_align
from sam_model.transformers_models.sam3 import Sam3Detector
from sam_model.types import Box, Image, Point, Prompt
from sam_testing.reference_pairs import image_named
from sam_testing.tiny_transformers import (
    write_tiny_edgetam,
    write_tiny_grounding_dino,
    write_tiny_owl,
    write_tiny_sam3,
    write_tiny_sam3_tracker,
    write_tiny_sam3_video,
)

pytestmark = pytest.mark.parity

IMAGES = ("landscape", "portrait", "tiny")
PIXELS = 1e-3  # of a box
WORDS = ["dog", "a cat"]
PROMPTED: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "sam3_tracker": (write_tiny_sam3_tracker, "Sam3Tracker", "Sam3ImageProcessor"),
    "sam3_video": (write_tiny_sam3_video, "Sam3Tracker", "Sam3ImageProcessor"),
    "edgetam": (write_tiny_edgetam, "EdgeTam", "Sam2ImageProcessor"),
}


@pytest.mark.parametrize("kind", PROMPTED)
@pytest.mark.parametrize("image_name", IMAGES)
def test_prompts_get_the_masks_of_the_processor(tmp_path: Path, kind: str, image_name: str) -> None:
    import transformers

    write, model_name, images = PROMPTED[kind]
    folder, image = write(tmp_path / kind), image_named(image_name)
    model = getattr(transformers, f"{model_name}Model").from_pretrained(folder).eval()
    processor_class = transformers.Sam3TrackerProcessor if model_name == "Sam3Tracker" else transformers.Sam2Processor
    processor = processor_class(getattr(transformers, images).from_pretrained(folder))
    segmenter = load_segmenter(str(folder), "cpu")
    embedding = segmenter.embed(image)

    (height, width) = image.shape[:2]
    points, box = [[0.4 * width, 0.3 * height], [0.8 * width, 0.7 * height]], (0.1, 0.2, 0.7, 0.8)
    corners: Box = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    prompt = Prompt((Point(*points[0]), Point(*points[1], is_positive=False)), corners, multimask=True)
    for question, ours in (
        ({"input_points": [[points[:1]]], "input_labels": [[[1]]]}, Prompt((Point(*points[0]),), multimask=True)),
        ({"input_boxes": [[list(corners)]]}, Prompt(box=corners, multimask=True)),
        ({"input_points": [[points]], "input_labels": [[[1, 0]]], "input_boxes": [[list(corners)]]}, prompt),
    ):
        inputs = processor(images=image, return_tensors="pt", **question)
        with torch.inference_mode():
            answer = model(**{name: value for name, value in inputs.items() if name != "original_sizes"})
        masks = processor.post_process_masks(answer.pred_masks, inputs["original_sizes"])[0][0]
        found = segmenter.segment(embedding, [ours])[0]

        order = answer.iou_scores[0, 0].argsort(descending=True).tolist()
        for one, place in zip((found, *found.alternatives), order, strict=True):
            assert one.score == pytest.approx(float(answer.iou_scores[0, 0, place]), abs=1e-5)
            assert (one.mask != masks[place].numpy()).mean() <= 1e-4


@pytest.mark.parametrize("write", [write_tiny_sam3, write_tiny_sam3_video], ids=["sam3", "sam3_video"])
@pytest.mark.parametrize("image_name", IMAGES)
def test_sam_3_finds_the_objects_of_the_processor(
    tmp_path: Path, write: Callable[[Path], Path], image_name: str
) -> None:
    from transformers import CLIPTokenizer, Sam3ImageProcessor, Sam3Model, Sam3Processor

    folder, image = write(tmp_path / "sam3"), image_named(image_name)
    (height, width) = image.shape[:2]
    box = (0.1 * width, 0.2 * height, 0.7 * width, 0.8 * height)
    other = (0.5 * width, 0.5 * height, 0.6 * width, 0.55 * height)
    model: Any = Sam3Model.from_pretrained(folder).eval()
    processor = Sam3Processor(Sam3ImageProcessor.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))
    detector = load_text_detector(str(folder), "cpu")
    assert isinstance(detector, Sam3Detector)
    settings: Any = {"score_threshold": 0, "iou_threshold": 1}

    for question, found in (
        ({"text": "dog"}, detector.detect_texts(image, ["dog"], **settings)),
        ({"input_boxes": [[list(box)]]}, detector.detect_similar(image, [box], **settings)),
        (
            {"text": "dog", "input_boxes": [[list(box), list(other)]], "input_boxes_labels": [[1, 0]]},
            detector.detect_similar(image, [box, other], are_positive=[True, False], text="dog", **settings),
        ),
    ):
        inputs = processor(images=image, return_tensors="pt", **question)
        with torch.inference_mode():
            answer = model(**{name: value for name, value in inputs.items() if name != "original_sizes"})
        theirs = processor.image_processor.post_process_instance_segmentation(
            answer, threshold=0, target_sizes=[(height, width)]
        )[0]

        order = theirs["scores"].argsort(descending=True, stable=True).tolist()
        assert len(found) == len(order) == 10
        for one, place in zip(found, order, strict=True):
            assert one.score == pytest.approx(float(theirs["scores"][place]), abs=1e-5)
            assert one.box == pytest.approx(inside(theirs["boxes"][place], image), abs=PIXELS)
            assert one.mask is not None
            assert (one.mask != theirs["masks"][place].bool().numpy()).mean() <= 1e-4


@pytest.mark.parametrize("image_name", IMAGES)
def test_grounding_dino_and_owl_find_the_boxes_of_their_processors(tmp_path: Path, image_name: str) -> None:
    """With the image processors that use Pillow; those that use torchvision round resized pixels in another way."""
    from transformers import (
        BertTokenizer,
        CLIPTokenizer,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
        MMGroundingDinoForObjectDetection,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessorPil,
        Owlv2Processor,
    )

    image = image_named(image_name)
    owl, dino = write_tiny_owl(tmp_path / "owl"), write_tiny_grounding_dino(tmp_path / "dino")
    detectors = {owl: OwlDetector(owl, "cpu"), dino: GroundingDinoDetector(dino, "cpu")}
    processors: dict[Path, Any] = {
        owl: Owlv2Processor(
            image_processor=Owlv2ImageProcessorPil.from_pretrained(owl), tokenizer=CLIPTokenizer.from_pretrained(owl)
        ),
        dino: GroundingDinoProcessor(
            GroundingDinoImageProcessorPil.from_pretrained(dino), BertTokenizer.from_pretrained(dino)
        ),
    }
    models: dict[Path, Any] = {
        owl: Owlv2ForObjectDetection.from_pretrained(owl).eval(),
        dino: MMGroundingDinoForObjectDetection.from_pretrained(dino).eval(),
    }
    for folder in (owl, dino):
        found = detectors[folder].detect_texts(image, WORDS, score_threshold=0, iou_threshold=1)
        inputs = processors[folder](images=image, text=[WORDS], return_tensors="pt")
        with torch.inference_mode():
            answer = models[folder](**inputs)
        ids = {"input_ids": inputs["input_ids"]} if folder == dino else {}
        theirs = processors[folder].post_process_grounded_object_detection(
            answer, threshold=0, target_sizes=[image.shape[:2]], **ids
        )[0]

        order = theirs["scores"].argsort(descending=True, stable=True).tolist()
        assert len(found) == len(order)
        for one, place in zip(found, order, strict=True):
            assert one.score == pytest.approx(float(theirs["scores"][place]), abs=1e-6)
            assert one.box == pytest.approx(inside(theirs["boxes"][place], image), abs=PIXELS)


def test_averages_within_boxes_are_torchvision_s() -> None:
    from torchvision.ops import roi_align as theirs

    random = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 13, 17, generator=random)
    corners = torch.rand(2, 20, 4, generator=random) * 30 - 6  # some are outside, or have no area
    boxes = torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:]], dim=-1)

    for size in (1, 2, 7):
        ours = roi_align(maps, list(boxes), size)

        assert torch.allclose(ours, theirs(maps, list(boxes), size), atol=1e-5)


def inside(box: torch.Tensor, image: Image) -> tuple[float, ...]:
    """Return a box cut off at the image's edges."""
    height, width = image.shape[:2]
    return tuple(np.clip(box.numpy(), 0, [width, height, width, height]).tolist())
