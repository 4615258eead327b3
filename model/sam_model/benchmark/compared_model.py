"""Models of the catalogue for the benchmark, with random weights if their file is missing.

Random weights take as long as trained ones, but they find nothing. The times then lack the work per found object (masks
at full size, suppression, run lengths), and the output says so.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sam_model.sam.network import SamNetwork
from sam_model.sam.sam import parameter_count
from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam_checkpoints import SIZES as SAM_SIZES
from sam_model.sam_checkpoints import AnySize, empty_sam, load_sam, sam_of_size
from sam_model.weights.catalog import WeightFile
from sam_model.weights.store import WeightStore
from sam_model.yolo.checkpoint import YoloModel, load_yolo
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_model.yolo.network import Yolo
from sam_model.yolo.sizes import SIZES as YOLO_SIZES
from sam_model.yolo.sizes import YoloSize
from sam_model.yolo.yolo_v8 import yolo_v8

SEED = 0
COCO_CLASSES = 80  # of the official YOLOv8
YOLO_NAME = re.compile(r"(fastsam_|yolov8)([a-z])(-seg)?")
BYTES_IN_FILE = 2  # per parameter in a file of Ultralytics

AnyModel = SamSegmenter | FastSamSegmenter | YoloDetector


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """A model and its sizes."""

    weights: WeightFile
    model: AnyModel
    parameters: int
    is_seeded: bool
    size_mb: float  # of the file, 10^6 bytes
    is_size_exact: bool


def compared_model(weights: WeightFile, store: WeightStore, device: str = "auto") -> ComparedModel:
    """Load a model, or create it with random weights if its file is not in the store. Nothing is downloaded.

    Raises:
        ValueError: the architecture is unknown.
        WeightsError: the file in the store is not what it should be.
    """
    has_file = store.path(weights).exists()
    sam_size, yolo = SAM_SIZES.get(weights.model), YOLO_NAME.fullmatch(weights.model)
    model: AnyModel
    if sam_size is not None:
        sam = load_sam(store.fetch(weights)) if has_file else _seeded_sam(sam_size)
        model = SamSegmenter(sam, weights.model, device)
    elif yolo is not None:
        size = next(size for size in YOLO_SIZES if size.letter == yolo[2])
        is_fast_sam = yolo[1] == "fastsam_"
        classes, has_masks = 1 if is_fast_sam else COCO_CLASSES, is_fast_sam or yolo[3] is not None
        network = load_yolo(store.fetch(weights)) if has_file else _seeded_yolo(weights.model, size, classes, has_masks)
        model = FastSamSegmenter(network, device) if is_fast_sam else YoloDetector(network, device)
    else:
        raise ValueError(f"model {weights.model!r} has an unknown architecture")
    parameters = parameters_of(weights.model)
    nbytes = store.path(weights).stat().st_size if has_file else weights.size
    return ComparedModel(
        weights, model, parameters, not has_file, (nbytes or BYTES_IN_FILE * parameters) / 1e6, bool(nbytes)
    )


def parameters_of(name: str) -> int:
    """Return the number of parameters of a model of the catalogue, without its weights.

    Raises:
        ValueError: the architecture is unknown.
    """
    sam_size, yolo = SAM_SIZES.get(name), YOLO_NAME.fullmatch(name)
    if sam_size is not None:
        return parameter_count(empty_sam(sam_size))
    if yolo is None:
        raise ValueError(f"model {name!r} has an unknown architecture")
    size = next(size for size in YOLO_SIZES if size.letter == yolo[2])
    is_fast_sam = yolo[1] == "fastsam_"
    with torch.device("meta"):  # shapes without memory
        return parameter_count(yolo_v8(size, 1 if is_fast_sam else COCO_CLASSES, is_fast_sam or yolo[3] is not None))


def _seeded_sam(size: AnySize) -> SamNetwork:
    model: SamNetwork = _seeded(lambda: sam_of_size(size))
    return model


def _seeded_yolo(name: str, size: YoloSize, classes: int, has_masks: bool) -> YoloModel:
    network: Yolo = _seeded(lambda: yolo_v8(size, classes, has_masks))
    for branch in network.get_submodule("model.22.cv3").children():
        nn.init.constant_(branch.get_parameter("2.bias"), -20.0)  # all scores near 0
    return YoloModel(network.requires_grad_(False), tuple(f"class {number}" for number in range(classes)), name)


def _seeded(make: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return make().eval()
