"""The networks beside their authors' code: SAM, SAM 2.1, MobileSAM, YOLOv8, FastSAM, in PyTorch and the best runtime.

Measured, each from what a user of the peer calls to boolean masks at the size of the image (or boxes): segment-anything
1.0 and MobileSAM (`SamPredictor`, `SamAutomaticMaskGenerator`), sam2 1.1 (`SAM2ImagePredictor`), Ultralytics 8.4
(`YOLO.predict`, on one thread less than there are cores, as it comes), ours with PyTorch in float32, and ours with what
`SAM_RUNTIME=auto` chooses on this machine. All run in one process and take turns, so that other work on the machine
affects all; ratios are of neighbours, median and range. Where other programs run, the ratios of minima and of processor
time (minima, too) say more. Weights are seeded; to the masks of segment everything, discs around the points are added,
so that each filter drops some; the time for the discs does not count. Of the reference's segment everything, some
batches of points are measured, and the time of all is computed from them. The quality beside the speed is the IoU of
the masks of both of ours.

    PYTHONPATH=model:tests .venv-parity/bin/python tests/benchmarks/runtimes.py [--only NAME ...] [--rounds 5]
        [--slow-rounds 1] [--points 32] [--folder FOLDER] [--add]

With `--add`, the rows of the result file that are not measured stay in the result, with their own commit and load.
"""

import argparse
import json
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.benchmark.alternation import Clock, Row, Sample, Work, alternated, rounded, seconds
from sam_model.masks.overlap import iou_of_masks
from sam_model.sam.automatic_mask_settings import automatic_mask_settings
from sam_model.sam.automatic_masks import segment_everything
from sam_model.sam.segmenter import LowResMasks, SamEmbedding, SamSegmenter
from sam_model.sam2.sizes import SIZES as SAM_2_SIZES
from sam_model.sam_checkpoints import SIZES
from sam_model.types import Image, Point, Prompt
from sam_model.yolo.checkpoint import load_yolo
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_testing.reference_pairs import REFERENCE_NAMES, reference_package
from sam_testing.seeded_checkpoints import seeded_sam, seeded_state

RESULT = Path(__file__).with_name("results") / "runtimes.json"
CONVERSION_TIMEOUT_S = 900
FULL_HD, LARGE = (1080, 1920), (3000, 4000)
FILTERS = {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.9}
OBJECTS = {"score_threshold": 0.001, "iou_threshold": 0.7}  # finds enough with seeded weights

PEER_BATCHES = 2  # of segment everything, 64 points each
MIN_OBJECTS, GOOD_IOU = 10, 0.99  # of the agreement of both runtimes

clock = Clock()


def smooth_image(size: tuple[int, int]) -> Image:
    """Return an image of large coloured spots."""
    spots = np.random.default_rng(0).normal(128, 80, (9, 12, 3)).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(spots, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def measured(sides: dict[str, Work], rounds: int, slow_rounds: int) -> Row:
    """Return the measurements of a row, and how well the objects of both runtimes agree."""
    row, found = alternated(sides, rounds, slow_rounds, clock)
    row |= {"load": round(os.getloadavg()[0], 1), "commit": commit()}
    if isinstance(sides["peer"], Sample):
        row["extrapolated"] = sides["peer"].times
    return row | agreement(found["torch"], found["auto"])


def agreement(wanted: Any, found: Any) -> Row:
    """Return how well the objects of both runtimes agree: the median IoU, and the share of those of at least .99."""
    if not isinstance(wanted, Sequence) or len(wanted) < MIN_OBJECTS or not len(found):
        return {}
    if hasattr(wanted[0], "box"):
        ious = box_agreement(wanted, found)
    else:  # a mask for each prompt
        ious = [iou_of_masks(one.mask, other.mask) for one, other in zip(wanted, found, strict=True)]
    good = float(np.mean(np.array(ious) >= GOOD_IOU))
    return {"objects": [len(wanted), len(found)], "iou": {"median": rounded(np.median(ious)), "good": rounded(good)}}


def box_agreement(wanted: Sequence[Any], found: Sequence[Any]) -> list[float]:
    """Return the IoU of each wanted object with the one of those found whose box is nearest."""
    boxes, others = (np.array([one.box for one in objects], np.float32) for objects in (wanted, found))
    near = box_iou_matrix(boxes, others)
    ious = []
    for place, nearest in enumerate(near.argmax(1)):
        masks = [mask_of(one) for one in (wanted[place], found[nearest])]
        ious.append(float(near[place, nearest]) if masks[0] is None else iou_of_masks(masks[0], masks[1]))
    return ious


def box_iou_matrix(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU of boxes (N, 4) and others (M, 4), (N, M)."""
    inner = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    shared = inner.clip(0).prod(-1)
    areas, other_areas = ((each[:, 2:] - each[:, :2]).prod(-1) for each in (boxes, others))
    found: NDArray[np.float32] = shared / (areas[:, None] + other_areas - shared).clip(1e-6)
    return found


def mask_of(one: Any) -> NDArray[np.bool_] | None:
    """Return the mask of an object that has one, or its run lengths."""
    found: NDArray[np.bool_] | None = one.run_lengths.mask if hasattr(one, "run_lengths") else one.mask
    return found


def commit() -> str:
    """Return the commit that is measured."""
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


class BlobSegmenter(SamSegmenter):
    """A segmenter that adds a disc around its point to each mask."""

    blobs = False

    def low_res_masks(
        self,
        embedding: SamEmbedding,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        mask_inputs: Tensor | None = None,
        *,
        multimask: bool,
        is_best_only: bool = False,
        min_iou: float = 0.0,
    ) -> LowResMasks:
        """Compute the masks, and add the discs."""
        found = super().low_res_masks(
            embedding,
            points,
            labels,
            boxes,
            mask_inputs,
            multimask=multimask,
            is_best_only=is_best_only,
            min_iou=min_iou,
        )
        if not self.blobs or points is None:
            return found
        with clock.stopped():
            low_res = self._scaled(points, embedding)[:, 0] / 4
            return LowResMasks(with_discs(found.logits, low_res), found.iou_predictions)


def with_discs(logits: Tensor, points: Tensor) -> Tensor:
    """Add discs around points (P, 2) to logits (P, M, h, w) that matter little; the M discs differ in size."""
    rows, columns = torch.meshgrid(*(torch.arange(side) + 0.5 for side in logits.shape[-2:]), indexing="ij")
    distance = torch.hypot(columns - points[:, 0, None, None], rows - points[:, 1, None, None])  # (P, h, w)
    radius = 6 + 10 * torch.arange(logits.shape[1]) + 8 * torch.sin(points.sum(1))[:, None]  # (P, M)
    return 0.1 * logits + (radius.clamp(min=3)[..., None, None] - distance[:, None]).clamp(-10, 10)


@contextmanager
def discs(predictor_type: Any, reference: Any, ours: list[BlobSegmenter]) -> Iterator[None]:
    """Add discs to the masks of the reference and of our segmenters."""
    points: list[Tensor] = []
    original = predictor_type.predict_torch

    def noting(self: Any, point_coords: Tensor, *args: Any, **kwargs: Any) -> Any:
        points[:] = [point_coords[:, 0] / 4]
        return original(self, point_coords, *args, **kwargs)

    def add(_: Any, __: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with clock.stopped():
            return with_discs(output[0], points[0]), output[1]

    hook = reference.mask_decoder.register_forward_hook(add)
    predictor_type.predict_torch = noting
    for segmenter in ours:
        segmenter.blobs = True
    yield
    for segmenter in ours:
        segmenter.blobs = False
    hook.remove()
    predictor_type.predict_torch = original


class Sams:
    """A model in the authors' code and twice in ours, with the same weights."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        if name in SAM_2_SIZES:
            self.predictor_type, self.reference = sam_2_reference(name)
        else:
            self.package = reference_package(name)
            self.predictor_type = self.package.SamPredictor
            self.reference = self.package.sam_model_registry[REFERENCE_NAMES[name]]().eval()
        unknown = self.reference.load_state_dict(seeded_state(SIZES[name]), strict=False).unexpected_keys
        assert not unknown  # only tensors for videos may be missing
        self.torch = BlobSegmenter(seeded_sam(SIZES[name]), name)
        self.auto = BlobSegmenter(seeded_sam(SIZES[name]), name, dtype="auto", runtime="auto", converted_dir=folder)
        image = smooth_image((90, 160))  # starts the conversion of the decoders
        self.auto.segment(self.auto.embed(image), [*points_in((90, 160), 1), Prompt(box=(10, 10, 50, 50))])
        self.is_converted = self.auto._converted is None or self.auto._converted.wait(CONVERSION_TIMEOUT_S)

    def embedding(self, size: tuple[int, int]) -> dict[str, Work]:
        """Embed an image."""
        image, predictor = smooth_image(size), self.predictor_type(self.reference)
        return {
            "peer": lambda: predictor.set_image(image),
            "torch": lambda: self.torch.embed(image),
            "auto": lambda: self.auto.embed(image),
        }

    def prompts(self, size: tuple[int, int], kind: str) -> dict[str, Work]:
        """Answer one point, one box or 64 points with the best mask of each, of an image that is embedded."""
        image, predictor = smooth_image(size), self.predictor_type(self.reference)
        predictor.set_image(image)
        height, width = size
        box = (0.2 * width, 0.1 * height, 0.7 * width, 0.8 * height)
        prompts = [Prompt(box=box)] if kind == "box" else points_in(size, 64 if kind == "64 points" else 1)
        places = np.array([[(p.x, p.y) for p in prompt.points] for prompt in prompts])

        def peer() -> Any:
            if kind == "box":
                return predictor.predict(box=np.array(box), multimask_output=False)[0]
            if kind == "point":
                masks, iou, _ = predictor.predict(places[0], np.array([1]), multimask_output=True)
                return masks[iou.argmax()]
            scaled = torch.tensor(predictor.transform.apply_coords(places, size), dtype=torch.float)
            masks, iou, _ = predictor.predict_torch(scaled, torch.ones(len(places), 1), multimask_output=True)
            return masks[torch.arange(len(masks)), iou.argmax(1)].numpy()

        return {"peer": peer} | {
            name: partial(segmenter.segment, segmenter.embed(image), prompts)
            for name, segmenter in (("torch", self.torch), ("auto", self.auto))
        }

    def everything(self, size: tuple[int, int], points: int) -> dict[str, Work]:
        """Find all masks of an image from a grid of points, as run lengths."""
        image = smooth_image(size)
        settings = {"points_per_side": points, **FILTERS}
        generator = self.package.SamAutomaticMaskGenerator(self.reference, output_mode="uncompressed_rle", **settings)
        grid = generator.point_grids[0] * np.array(size[::-1])
        batches = np.split(grid, max(1, len(grid) // 64))
        sampled = batches[:: max(1, len(batches) // PEER_BATCHES)][:PEER_BATCHES]

        def peer_batches() -> None:
            with torch.no_grad(), discs(self.predictor_type, self.reference, []):
                for batch in sampled:
                    generator._process_batch(batch, size, [0, 0, size[1], size[0]], size)

        peer = Sample(partial(generator.predictor.set_image, image), peer_batches, len(batches) / len(sampled))

        def ours(segmenter: BlobSegmenter) -> Any:
            with discs(self.predictor_type, self.reference, [segmenter]):
                return segment_everything(segmenter, image, automatic_mask_settings(**settings))

        return {"peer": peer, "torch": partial(ours, self.torch), "auto": partial(ours, self.auto)}

    def overlaps(self) -> Row:
        """Return the IoU of both of our segmenters' masks for some prompts, each with its own embedding.

        With seeded weights, the predicted IoU of a point's candidates may differ by less than .001, so that another one
        comes first. Then the candidate that is most alike counts, and the prompt is counted.
        """
        image = smooth_image(FULL_HD)
        prompts = [replace(one, multimask=True) for one in points_in(FULL_HD, 12)]
        prompts += [Prompt(box=(x, 100, x + 700, 900)) for x in range(0, 1200, 150)]
        pairs = zip(
            self.torch.segment(self.torch.embed(image), prompts),
            self.auto.segment(self.auto.embed(image), prompts),
            strict=True,
        )
        ious = [[iou_of_masks(a.mask, other.mask) for other in (b, *b.alternatives)] for a, b in pairs]
        best = [max(one) for one in ious]
        reordered = sum(max(one) > one[0] for one in ious)
        return {"min": rounded4(min(best)), "mean": rounded4(np.mean(best)), "reordered": reordered}


def rounded4(value: Any) -> float:
    return round(float(value), 4)


def sam_2_reference(name: str) -> tuple[Any, Any]:
    """Return the predictor's type and the model of SAM 2's authors."""
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    configuration = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}[name.removeprefix("sam2.1_hiera_")]
    warnings.simplefilter("ignore")  # torch.jit.script is deprecated
    return SAM2ImagePredictor, build_sam2(f"configs/sam2.1/sam2.1_hiera_{configuration}.yaml", device="cpu")


def points_in(size: tuple[int, int], count: int) -> list[Prompt]:
    """Return points spread over an image."""
    places = np.random.default_rng(1).uniform((0, 0), size[::-1], (count, 2))
    return [Prompt(points=(Point(float(x), float(y)),)) for x, y in places]


def yolo(path: Path, description: str, folder: Path, classes: int | None = None, side: int = 640) -> dict[str, Work]:
    """Find the objects of an image of Full HD, with masks at its size if the network has them."""
    from ultralytics import YOLO

    from sam_testing.ultralytics_files import ultralytics_image, write_ultralytics_file

    image = cv2.resize(ultralytics_image("bus.jpg"), FULL_HD[::-1])
    bgr = np.ascontiguousarray(image[..., ::-1])
    write_ultralytics_file(path, description, classes, 320, gain=0.4)
    theirs, cores = YOLO(path), torch.get_num_threads()
    settings = {"conf": OBJECTS["score_threshold"], "iou": OBJECTS["iou_threshold"], "imgsz": side}

    def peer() -> Any:
        (result,) = theirs.predict(bgr, retina_masks=True, verbose=False, device="cpu", **settings)
        return result.boxes.data.numpy(), None if result.masks is None else result.masks.data.numpy()

    peer()  # on a CPU, Ultralytics sets PyTorch's threads to one less than there are cores
    sides: dict[str, Work] = {"peer": on_threads(torch.get_num_threads(), peer)}
    torch.set_num_threads(cores)
    for name, choice in (("torch", {}), ("auto", {"dtype": "auto", "runtime": "auto", "converted_dir": folder})):
        detector = YoloDetector(load_yolo(path), "cpu", image_size=side, **choice)  # type: ignore[arg-type]
        detector.detect(image, **OBJECTS)
        if name == "auto" and hasattr(detector._run, "wait"):
            detector._run.wait(CONVERSION_TIMEOUT_S)
        sides[name] = on_threads(cores, partial(detector.detect, image, **OBJECTS))  # type: ignore[arg-type]
    return sides


def on_threads(count: int, work: Callable[[], Any]) -> Work:
    """Return the work, done by so many threads of PyTorch; then their number is what it was."""

    def done() -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            return work()
        finally:
            torch.set_num_threads(before)

    return done


def fast_sam(path: Path, folder: Path) -> dict[str, Work]:
    """Find all masks of an image of Full HD with FastSAM-s, at its size."""
    sides = yolo(path, "yolov8s-seg.yaml", folder, classes=1, side=1024)
    from sam_testing.ultralytics_files import ultralytics_image

    image = cv2.resize(ultralytics_image("bus.jpg"), FULL_HD[::-1])
    for name, choice in (("torch", {}), ("auto", {"dtype": "auto", "runtime": "auto", "converted_dir": folder})):
        segmenter = FastSamSegmenter(load_yolo(path), **choice)  # type: ignore[arg-type]

        def find(segmenter: FastSamSegmenter = segmenter) -> Any:
            return segmenter.find_masks(image, OBJECTS["score_threshold"], OBJECTS["iou_threshold"]).masks

        find()
        if name == "auto" and hasattr(segmenter.detector._run, "wait"):
            segmenter.detector._run.wait(CONVERSION_TIMEOUT_S)
        sides[name] = find
    return sides


def cases(folder: Path, points: int) -> Iterator[tuple[str, Callable[[], dict[str, Work]]]]:
    """Yield the name of each row, and what makes its sides."""
    loaded: dict[str, Sams] = {}

    def sams(name: str) -> Sams:
        if name not in loaded:
            loaded[name] = Sams(name, folder)
        return loaded[name]

    yield "MobileSAM, embed, 1080p", lambda: sams("mobile_sam").embedding(FULL_HD)
    yield "MobileSAM, 1 point, 12 MP", lambda: sams("mobile_sam").prompts(LARGE, "point")
    yield "MobileSAM, 1 box, 12 MP", lambda: sams("mobile_sam").prompts(LARGE, "box")
    yield "MobileSAM, 64 points, 1080p", lambda: sams("mobile_sam").prompts(FULL_HD, "64 points")
    everything = f"MobileSAM, everything, {points} x {points} points, 1080p"
    yield everything, lambda: sams("mobile_sam").everything(FULL_HD, points)
    yield "MobileSAM, IoU", lambda: quality(sams("mobile_sam"))
    yield "SAM-b, embed, 1080p", lambda: sams("sam_b").embedding(FULL_HD)
    yield "SAM-b, 1 point, 1080p", lambda: sams("sam_b").prompts(FULL_HD, "point")
    yield "SAM-b, IoU", lambda: quality(sams("sam_b"))
    yield "SAM 2.1 tiny, embed, 1080p", lambda: sams("sam2.1_hiera_tiny").embedding(FULL_HD)
    yield "SAM 2.1 tiny, 1 point, 1080p", lambda: sams("sam2.1_hiera_tiny").prompts(FULL_HD, "point")
    yield "SAM 2.1 tiny, 1 box, 1080p", lambda: sams("sam2.1_hiera_tiny").prompts(FULL_HD, "box")
    yield "SAM 2.1 tiny, IoU", lambda: quality(sams("sam2.1_hiera_tiny"))
    yield "yolov8x, 1080p", lambda: yolo(folder / "my-x.pt", "yolov8x.yaml", folder)
    yield "yolov8n-seg, 1080p", lambda: yolo(folder / "my-n-seg.pt", "yolov8n-seg.yaml", folder)
    yield "FastSAM-s, 1080p", lambda: fast_sam(folder / "my-fastsam.pt", folder)


def quality(sams: Sams) -> dict[str, Work]:
    """Return a work without sides: the IoU of our masks."""
    return {"iou": sams.overlaps}


def main() -> None:
    """Print a line per row and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=2)
    parser.add_argument("--points", type=int, default=32, help="points per side of segment everything")
    parser.add_argument("--folder", type=Path, help="keeps the converted networks")
    parser.add_argument("--add", action="store_true", help="keep the other rows of the result file")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Row] = json.loads(RESULT.read_text())["result"]["rows"] if options.add else {}
    for name, make in cases(folder, options.points):
        if not any(part in name for part in options.only):
            continue
        sides = make()
        if "iou" in sides:
            rows[name] = seconds(sides["iou"], clock)[1]
        else:
            rows[name] = measured(sides, options.rounds, options.slow_rounds)
        print(f"{name:<50} {rows[name]}", flush=True)
    order = [name for name, _ in cases(folder, options.points)]
    rows = {name: rows[name] for name in order if name in rows}
    packages = ("torch", "openvino", "segment-anything", "sam2", "mobilesam-mirror", "ultralytics")
    versions = {package: version(package) for package in packages}
    print(json.dumps({"benchmark": "runtimes", "versions": versions, "rows": rows}))


if __name__ == "__main__":
    main()
