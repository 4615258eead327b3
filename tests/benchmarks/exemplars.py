"""Objects that are found by one example, without weights: drawn images, and objects of photographs that are pasted.

Drawn images: 30 with objects of three classes; size, rotation and light vary. The example is one object of the first
class in the first image that has it; all its regions count as annotated. An object is found if a match with a score
above 0.5 covers it with IoU 0.5. In the second set, the decoys share colour or shape with the class that is searched.

Photographs: the object of each photograph is cut out, turned, scaled, and pasted on others. The example is the object
in its own photograph, which is not searched: it has the object too, and a run leaves annotated tasks out. Each object
has six copies: precision@10 is the share of right ones among as many matches with the highest scores, ten at most.
Photographs of a group in `--alike`, such as `nuts`, show several objects of one kind and have a mask of one: none of
the group is searched for it, each object of the group is right, and the background is another photograph's.

Search: seconds for one million descriptors in a memory-mapped file, of the engine's own length.

    python tests/benchmarks/exemplars.py [--photos FOLDER --alike nuts] [--rows 1000000]

FOLDER is as for classical_quality.py.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from classical_quality import samples_in

from sam_model.automatic_segmentation import SegmentedObject
from sam_model.classical.segmenter import ClassicalEmbedding, ClassicalSegmenter
from sam_model.exemplars.classical_descriptor import ClassicalDescriber
from sam_model.exemplars.descriptors import Descriptors
from sam_model.exemplars.examples import background_of
from sam_model.exemplars.further_regions import with_further_regions
from sam_model.exemplars.matches import match_regions
from sam_model.exemplars.proposals import propose_regions
from sam_model.exemplars.similarity import Examples, similarity_scores
from sam_model.masks.overlap import iou_of_masks
from sam_model.types import Image, Mask, Prompt, ScoredMask
from sam_testing.drawn_classes import ALIKE, CLASSES, drawn_classes

IMAGES, THRESHOLD, MIN_IOU = 30, 0.5, 0.5
PASTED = 5  # objects on one photograph
COPIES = 6  # of each object
SEED = 7
SEGMENTER, DESCRIBER = ClassicalSegmenter(), ClassicalDescriber()


@dataclass(frozen=True, eq=False)
class Described:
    """An image with its proposals and their descriptors; `truth` are the masks of its objects with their names."""

    image: Image
    truth: list[tuple[Any, Mask]]
    regions: list[SegmentedObject]
    descriptors: Descriptors
    embedding: ClassicalEmbedding
    segmenter: ClassicalSegmenter = field(default_factory=lambda: RememberingSegmenter())
    describer: ClassicalDescriber = field(default_factory=lambda: RememberingDescriber())


class RememberingDescriber(ClassicalDescriber):
    """Describes each region of one image once."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def describe(self, image: Image, embedding: Any, masks: Sequence[Mask]) -> Descriptors:
        keys = [(mask.shape, np.packbits(mask).tobytes()) for mask in masks]
        missing = {key: mask for key, mask in zip(keys, masks, strict=True) if key not in self._known}
        if missing:
            self._known.update(zip(missing, super().describe(image, None, list(missing.values())), strict=True))
        return np.stack([self._known[key] for key in keys])


class RememberingSegmenter(ClassicalSegmenter):
    """Segments each box of one image once: the same boxes are asked for by several classes."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Any, ScoredMask] = {}

    def segment(self, embedding: ClassicalEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        for prompt in prompts:
            if prompt.box not in self._known:
                (self._known[prompt.box],) = super().segment(embedding, [prompt])
        return [self._known[prompt.box] for prompt in prompts]


def described(image: Image, truth: list[tuple[Any, Mask]]) -> Described:
    embedding = SEGMENTER.embed(image)
    regions = propose_regions(SEGMENTER, image, lambda: embedding)
    descriptors = DESCRIBER.describe(image, embedding, [one.run_lengths.mask for one in regions])
    return Described(image, truth, regions, descriptors, embedding)


def examples_of(one: Described, name: Any, first_only: bool = True) -> Examples:
    """Return one object of an image as the example, and its background as the negative examples."""
    masks = [mask for found, mask in one.truth if found == name]
    positive = DESCRIBER.describe(one.image, None, masks[: 1 if first_only else None])
    return Examples(positive, background_of(one.regions, one.descriptors, masks))


def matched(one: Described, name: Any, examples: Examples, threshold: float) -> list[tuple[float, bool]]:
    """Return score and correctness of each match; an object is found once."""
    scores = {"x": lambda rows: similarity_scores(rows, examples)}
    regions, descriptors = with_further_regions(
        one.segmenter, one.describer, one.image, one.embedding, one.regions, one.descriptors, scores
    )
    found = match_regions(regions, descriptors, scores, {"x": threshold})
    left = [mask for kind, mask in one.truth if kind == name]
    answers = []
    for match in found:
        mask = regions[match.position].run_lengths.mask
        hit = next((position for position, each in enumerate(left) if iou_of_masks(each, mask) >= MIN_IOU), None)
        if hit is not None:
            del left[hit]
        answers.append((match.score, hit is not None))
    return answers


def drawn(classes: Sequence[Any]) -> dict[str, float]:
    """Return precision and recall for the first class, with the example in each of the first three images."""
    began = time.perf_counter()
    images = []
    for seed in range(IMAGES):
        image, objects = drawn_classes(seed, classes)
        images.append(described(image, [(one.kind, one.mask) for one in objects]))
    seconds = (time.perf_counter() - began) / IMAGES
    correct = found = total = 0
    for position in range(3):
        examples = examples_of(images[position], classes[0])
        for one in (each for other, each in enumerate(images) if other != position):
            answers = matched(one, classes[0], examples, THRESHOLD)
            correct += sum(is_right for _, is_right in answers)
            found += len(answers)
            total += sum(kind == classes[0] for kind, _ in one.truth)
    return {
        "precision": round(correct / max(1, found), 3),
        "recall": round(correct / total, 3),
        "seconds_per_image": round(seconds, 2),
    }


def pasted_photographs(folder: Path, alike: Sequence[str]) -> dict[str, Any]:
    """Return precision@10 of each object that is cut out and pasted; `alike` are groups of one kind of object."""
    random = np.random.default_rng(SEED)
    samples = list(samples_in(folder))
    kinds = {one.name: group if (group := one.name.partition("_")[0]) in alike else one.name for one in samples}
    originals = {one.name: described(one.image, [(kinds[one.name], one.truth)]) for one in samples}
    left = [one for one in samples for _ in range(COPIES)]
    random.shuffle(left)  # type: ignore[arg-type]
    scenes, grounds = [], []
    while left:
        ground = samples[len(scenes) % len(samples)]
        here, image, truth = [], ground.image.copy(), []
        for one in list(left):
            if len(here) == PASTED:
                break
            if one.name != ground.name and one.name not in {each.name for each in here}:
                here.append(one)
                left.remove(one)
        if not here:
            break
        for place, one in enumerate(here):
            mask = paste(image, one.image, one.truth, place, random)
            if mask is not None:
                truth.append((kinds[one.name], mask))
        scenes.append(described(image, truth))
        grounds.append(kinds[ground.name])
    precision, recall = {}, {}
    for one in samples:
        kind = kinds[one.name]
        examples = examples_of(originals[one.name], kind)
        if kind in alike:  # the photograph has further objects of this kind
            other = next(each for each in reversed(samples) if kinds[each.name] not in alike)
            examples = Examples(examples.positive, originals[other.name].descriptors)
        searched = [scene for scene, ground in zip(scenes, grounds, strict=True) if ground != kind]
        answers = [answer for scene in searched for answer in matched(scene, kind, examples, 0.05)]
        copies = [(scene, mask) for scene in searched for name, mask in scene.truth if name == kind]
        reached = [
            max((iou_of_masks(mask, each.run_lengths.mask) for each in scene.regions), default=0.0) >= MIN_IOU
            for scene, mask in copies
        ]
        best = sorted(answers, key=lambda answer: -answer[0])[: min(10, len(copies))]
        precision[one.name] = round(sum(is_right for _, is_right in best) / max(1, len(best)), 2)
        recall[one.name] = sum(reached) / max(1, len(copies))
    return {
        "images": len(scenes),
        "precision_at_10": round(float(np.mean(list(precision.values()))), 3),
        "objects_with_a_proposal": round(float(np.mean(list(recall.values()))), 3),
        "of_each": precision,
        "proposals_of_each": {name: round(value, 2) for name, value in recall.items()},
    }


def paste(image: Image, source: Image, truth: Mask, place: int, random: np.random.Generator) -> Mask | None:
    """Paste an object, turned, scaled and lit at random, into one of six cells of `image`; return its mask."""
    height, width = image.shape[:2]
    row, column = divmod(place, 3)
    cell = np.array([width / 3, height / 2])
    x, y, w, h = cv2.boundingRect(truth.view(np.uint8))
    reach = float(np.hypot(w, h))
    scale = float(random.uniform(0.6, 0.95)) * cell.min() / reach
    turn = cv2.getRotationMatrix2D((x + w / 2, y + h / 2), float(random.uniform(0, 360)), scale)
    turn[:, 2] += (np.array([column, row]) + 0.5) * cell - [x + w / 2, y + h / 2]
    moved = cv2.warpAffine(truth.astype(np.uint8), turn, (width, height), flags=cv2.INTER_NEAREST).view(np.bool_)
    if np.count_nonzero(moved) < 200:
        return None
    pixels = cv2.warpAffine(source, turn, (width, height), flags=cv2.INTER_AREA)
    lit = np.clip(pixels * random.uniform(0.75, 1.2), 0, 255).astype(np.uint8)
    image[moved] = lit[moved]
    return np.asarray(moved)


def search(rows: int) -> dict[str, float]:
    """Return the seconds of a search over descriptors in a memory-mapped file."""
    length = ClassicalDescriber().describe(np.zeros((8, 8, 3), np.uint8), None, [np.ones((8, 8), bool)]).shape[1]
    random = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        file = np.memmap(Path(folder) / "rows", np.float16, "w+", shape=(rows, length))
        for start in range(0, rows, 50_000):
            part = random.normal(size=(min(50_000, rows - start), length))
            file[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
        file.flush()
        examples = Examples(np.asarray(file[:10], np.float32), np.asarray(file[10:200], np.float32))
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            similarity_scores(np.memmap(Path(folder) / "rows", np.float16, "r", shape=(rows, length)), examples)
            seconds.append(time.perf_counter() - began)
    return {"rows": rows, "length": length, "examples": 200, "seconds": round(min(seconds), 2)}


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder with index.json, images and masks")
    parser.add_argument("--alike", nargs="*", default=["nuts"], help="groups of photographs of one kind of object")
    parser.add_argument("--rows", type=int, default=1_000_000, help="descriptors of the search")
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "exemplars", "descriptor": DESCRIBER.fingerprint, "images": IMAGES}
    result["drawn"], result["drawn_alike"] = drawn(CLASSES), drawn(ALIKE)
    for name in ("drawn", "drawn_alike"):
        print(name, result[name], flush=True)
    result["search"] = search(options.rows)
    print("search", result["search"], flush=True)
    if options.photos:
        result["photographs"] = pasted_photographs(options.photos, options.alike)
        print("photographs", result["photographs"], flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
