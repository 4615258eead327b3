"""SAM 3's tracker behind the interface of the family; `tests/parity` compares with the processors of transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_model.automatic_segmentation import segment_automatically
from sam_model.registry import load_segmenter, load_text_detector
from sam_model.sam.embedding_bytes import embedding_from_bytes, embedding_to_bytes
from sam_model.sam.segmenter import SamSegmenter
from sam_model.types import Image, Point, Prompt
from sam_model.weights.errors import BrokenWeightsError
from sam_testing.tiny_transformers import write_tiny_sam3_tracker, write_tiny_sam3_video

SIZE = (50, 80)


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam3_tracker(tmp_path_factory.mktemp("sam3") / "tiny_tracker")


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> SamSegmenter:
    found = load_segmenter(str(folder), "cpu", runtime="auto")
    assert isinstance(found, SamSegmenter)
    return found


def test_prompts_get_the_answer_of_the_model(folder: Path, segmenter: SamSegmenter, image: Image) -> None:
    from transformers import Sam3TrackerModel

    model: Any = Sam3TrackerModel.from_pretrained(folder).eval()
    embedding = segmenter.embed(image)
    scale = torch.tensor([56 / 80, 56 / 50])
    points, boxes = torch.tensor([[30.0, 20], [5, 40]]), torch.tensor([[10.0, 5], [60, 45]])
    mask = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = segmenter.model.preprocess(segmenter.model.resize(image))
    theirs = {"points": (points * scale)[None, None], "boxes": (boxes * scale).view(1, 1, 4), "mask": mask}
    ours = {"points": points[None], "boxes": boxes.view(1, 4), "mask": mask}
    for kinds in (["points"], ["boxes"], ["points", "boxes"], ["points", "mask"], ["mask"]):
        for multimask in (True, False):
            labels = torch.tensor([1, 0])
            found = segmenter.low_res_masks(
                embedding,
                points=ours["points"] if "points" in kinds else None,
                labels=labels[None] if "points" in kinds else None,
                boxes=ours["boxes"] if "boxes" in kinds else None,
                mask_inputs=mask if "mask" in kinds else None,
                multimask=multimask,
            )
            with torch.inference_mode():
                expected = model(
                    pixels,
                    input_points=theirs["points"] if "points" in kinds else None,
                    input_labels=labels[None, None] if "points" in kinds else None,
                    input_boxes=theirs["boxes"] if "boxes" in kinds else None,
                    input_masks=mask if "mask" in kinds else None,
                    multimask_output=multimask,
                )

            assert torch.allclose(found.logits, expected.pred_masks[0], atol=1e-5), kinds
            assert torch.allclose(found.iou_predictions, expected.iou_scores[0], atol=1e-5), kinds


def test_several_prompts_get_the_answer_of_each(segmenter: SamSegmenter, image: Image) -> None:
    embedding = segmenter.embed(image)
    prompts = [
        Prompt((Point(30, 20),)),
        Prompt((Point(10, 40),)),
        Prompt((Point(30, 20),), mask_input=np.ones((16, 16), np.float32)),
        Prompt((Point(10, 40),), mask_input=-np.ones((16, 16), np.float32)),
    ]

    together = segmenter.segment(embedding, prompts)

    for prompt, one in zip(prompts, together, strict=True):
        (alone,) = segmenter.segment(embedding, [prompt])
        assert one.score == pytest.approx(alone.score, abs=1e-5)
        assert (one.mask == alone.mask).mean() > 0.999
        assert one.mask.shape == SIZE
    assert len({round(one.score, 4) for one in together}) == 4


def test_an_embedding_survives_a_file(segmenter: SamSegmenter, image: Image) -> None:
    embedding = segmenter.embed(image)

    again = embedding_from_bytes(embedding_to_bytes(embedding, "hash"), "hash", segmenter.fingerprint)

    assert all(torch.equal(one, other) for one, other in zip(again.tensors, embedding.tensors, strict=True))


def test_everything_is_segmented(segmenter: SamSegmenter, image: Image) -> None:
    found = segment_automatically(segmenter, image, 0.0)

    assert all(one.run_lengths.size == SIZE for one in found)


def test_the_embedding_has_the_decoder_s_precision(folder: Path, image: Image) -> None:
    half = load_segmenter(str(folder), "cpu", "bfloat16")

    embedding = half.embed(image)

    assert embedding.dtype == "bfloat16"
    assert half.segment(embedding, [Prompt((Point(30, 20),))])[0].mask.shape == SIZE


def test_the_published_folder_has_the_models_for_clicks_and_for_texts(tmp_path: Path, image: Image) -> None:
    folder = write_tiny_sam3_video(tmp_path / "sam3")

    segmenter, detector = load_segmenter(str(folder), "cpu"), load_text_detector(str(folder), "cpu")

    assert segmenter.segment(segmenter.embed(image), [Prompt(box=(10, 5, 60, 45))])[0].mask.shape == SIZE
    found = detector.detect_texts(image, ["dog"], score_threshold=0)
    assert found
    assert all(one.mask is not None and one.mask.shape == SIZE for one in found)


def test_openvino_cannot_run_it(folder: Path) -> None:
    with pytest.raises(ValueError, match="runtime 'openvino' cannot run tiny_tracker, a model of transformers"):
        load_segmenter(str(folder), "cpu", runtime="openvino")


def test_edgetam_without_timm_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "edgetam_video"}')

    with pytest.raises(BrokenWeightsError, match="EdgeTAM needs the package timm: pip install timm"):
        load_segmenter(str(tmp_path))


def test_a_text_detector_is_no_segmenter(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}')

    with pytest.raises(BrokenWeightsError, match="model_type 'owlv2' is not that of a segmenter; known: edgetam"):
        load_segmenter(str(tmp_path))


def test_a_missing_file_of_the_preprocessing_is_named(tmp_path: Path) -> None:
    folder = write_tiny_sam3_tracker(tmp_path / "tracker")
    (folder / "preprocessor_config.json").write_text("{}")

    with pytest.raises(
        BrokenWeightsError, match="tracker lacks the means and deviations of its pixels; needed: image_"
    ):
        load_segmenter(str(folder))
