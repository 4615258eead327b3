from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_model import SAM
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.detectors.text import ClassNameDetector, OwlDetector, segment_texts
from sam_model.registry import load_text_detector
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting import sam as sam_scripting
from sam_model.types import Detection, Image
from sam_model.weights.errors import BrokenWeightsError
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam

WORDS = ["dog", "a cat"]


class Finder:
    """Finds a box of each class."""

    name, fingerprint, class_names = "finder", "finder-1", ("Person", "dog", "bicycle")

    def detect(self, image: Image, **settings: Any) -> list[Detection]:
        return [
            Detection((5.0 * i, 5, 5.0 * i + 20, 30), 0.9 - 0.1 * i, i, name) for i, name in enumerate(self.class_names)
        ]


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny OWLv2 with seeded weights, whose words are spelt letter by letter."""
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessorPil, Owlv2Processor

    folder = tmp_path_factory.mktemp("owl") / "tiny_owl"
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={
            **layers, "vocab_size": len(tokens), "max_position_embeddings": 16,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        },
        vision_config={**layers, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!", model_max_length=16)
    size = {"height": 64, "width": 64}
    Owlv2Processor(image_processor=Owlv2ImageProcessorPil(size=size), tokenizer=tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def owl(folder: Path) -> OwlDetector:
    return OwlDetector(folder)


def test_a_detector_finds_its_classes_by_their_names(image: Image) -> None:
    found = ClassNameDetector(Finder()).detect_texts(image, ["bicycle", " person"])

    assert [(one.class_id, one.class_name, one.box[0]) for one in found] == [(1, " person", 0), (0, "bicycle", 10)]


def test_a_rare_class_is_found_behind_three_hundred_of_another(image: Image) -> None:
    class Crowd:
        name, fingerprint, class_names = "crowd", "crowd-1", ("person", "dog")

        def detect(self, image: Image, *, max_detections: int = 300, **settings: Any) -> list[Detection]:
            people = [Detection((0, 0, 5, 5), 0.9, 0, "person")] * 400
            return [*people, Detection((10, 10, 30, 30), 0.5, 1, "dog")][:max_detections]

    found = ClassNameDetector(Crowd()).detect_texts(image, ["dog"], max_detections=2)

    assert [(one.class_name, one.box) for one in found] == [("dog", (10, 10, 30, 30))]


def test_a_word_that_is_no_class_is_named(image: Image) -> None:
    with pytest.raises(ValueError, match="text 'cat' is not a class of finder; known classes: Person, dog, bicycle"):
        ClassNameDetector(Finder()).detect_texts(image, ["dog", "cat"])


@pytest.mark.parametrize("texts", ["dog", [], ["dog", " "], [1]])
def test_what_is_no_list_of_words_is_named(owl: OwlDetector, image: Image, texts: Any) -> None:
    for detector in (owl, ClassNameDetector(Finder())):
        with pytest.raises(ValueError, match="needed: a list of one or more descriptions"):
            detector.detect_texts(image, texts)


def test_owl_finds_the_boxes_that_transformers_reads_from_its_answer(owl: OwlDetector, image: Image) -> None:
    found = owl.detect_texts(image, WORDS, score_threshold=0.1, iou_threshold=1.0)

    inputs = owl._processor(text=[WORDS], images=image, return_tensors="pt")
    with torch.inference_mode():
        answer = owl._model(**inputs)
    result = owl._processor.post_process_grounded_object_detection(
        answer, threshold=0.1, target_sizes=[(50, 80)], text_labels=[WORDS]
    )[0]
    order = result["scores"].argsort(descending=True, stable=True).tolist()
    assert len(found) == len(order) > 2
    for one, place in zip(found, order, strict=True):
        expected = result["boxes"][place].numpy().clip(0, [80, 50, 80, 50])
        assert one.box == pytest.approx(tuple(expected), abs=1e-3)
        assert one.score == pytest.approx(float(result["scores"][place]))
        assert one.class_name == result["text_labels"][place] == WORDS[one.class_id]


def test_other_words_give_other_scores(owl: OwlDetector, image: Image) -> None:
    dogs = owl.detect_texts(image, ["dog"], score_threshold=0.0)
    trees = owl.detect_texts(image, ["tree"], score_threshold=0.0)

    assert [one.score for one in dogs] != [one.score for one in trees]


def test_owl_keeps_the_higher_scoring_of_two_that_overlap_and_no_more_than_asked_for(
    owl: OwlDetector, image: Image
) -> None:
    every = owl.detect_texts(image, WORDS, score_threshold=0.0, iou_threshold=1.0)
    fewer = owl.detect_texts(image, WORDS, score_threshold=0.0, iou_threshold=0.01)

    assert len(fewer) < len(every)
    assert fewer[0] == every[0]
    assert owl.detect_texts(image, WORDS, score_threshold=0.0, max_detections=1) == every[:1]


def test_words_become_masks(image: Image) -> None:
    found = segment_texts(ClassicalSegmenter(), ClassNameDetector(Finder()), image, ["dog"])

    assert [detection.class_name for detection, _ in found] == ["dog"]
    assert found[0][1].mask.shape == (50, 80)
    assert found[0][1].mask.any()
    assert segment_texts(ClassicalSegmenter(), load_text_detector("classical"), np.zeros_like(image), ["face"]) == []


def test_a_folder_is_an_owl_and_a_name_a_detector(folder: Path, owl: OwlDetector) -> None:
    assert load_text_detector(str(folder)).fingerprint == owl.fingerprint
    assert load_text_detector("classical").name == "classical"


def test_a_folder_without_an_owl_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(BrokenWeightsError, match="could not load OWLv2 from empty"):
        load_text_detector(str(tmp_path / "empty"))


def test_pickled_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(BrokenWeightsError, match="safetensors"):
        OwlDetector(tmp_path)


@pytest.fixture
def sam(monkeypatch: pytest.MonkeyPatch) -> SAM:
    tiny = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: tiny)
    monkeypatch.setattr(sam_scripting, "load_text_detector", lambda *_: ClassNameDetector(Finder()))
    return SAM("sam_b.pt")


def test_sam_takes_words(sam: SAM, image: Image) -> None:
    (one,) = sam(image, text="dog", image_format="RGB")
    (two,) = sam(image, text=["dog", "person"], detector="finder.pt", verbose=False)
    (by_box,) = sam(image, bboxes=[5, 5, 25, 30], image_format="RGB")

    assert one.masks.shape == (1, 50, 80)
    assert [prompt.box for prompt in one.prompts] == [(5, 5, 25, 30)]
    assert torch.equal(one.masks.data, by_box.masks.data)
    assert [prompt.box for prompt in two.prompts] == [(0, 5, 20, 30), (5, 5, 25, 30)]
    assert two.names == {0: "dog", 1: "person"}
    assert [one.verbose() for one in two] == ["1 person, ", "1 dog, "]


def test_words_and_clicks_together_are_refused(sam: SAM, image: Image) -> None:
    with pytest.raises(ValueError, match="text: not possible together with points or boxes"):
        sam(image, text="dog", points=[3, 3])
    with pytest.raises(ValueError, match="iou: not possible together with text"):
        sam(image, text="dog", iou=0.5)
