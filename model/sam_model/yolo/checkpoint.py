"""Loading of Ultralytics files: the network that a file belongs to, with task, class names and name."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.loading import differences
from sam_model.yolo.module_tree import KNOWN_FAMILIES, build_network
from sam_model.yolo.network import Yolo
from sam_model.yolo.pickle_reader import Inert
from sam_model.yolo.sizes import SIZES, STRIDES
from sam_model.yolo.stand_ins import TASKS, WITHOUT_BOXES
from sam_model.yolo.torch_files import StoredTensor, TorchFile, read_torch_file

TRIAL_SIDE = 2 * STRIDES[-1]  # pixels of the input with which a network's shapes are checked
STARTS_OF_SAM = ("image_encoder.", "mask_decoder.", "sam_mask_decoder.")  # of the names of its tensors
NAME = re.compile(r"[\w.-]{1,60}")


@dataclass(frozen=True)
class YoloModel:
    """A network with its weights, and the names of its file."""

    network: Yolo
    class_names: tuple[str, ...]
    name: str = "yolo"  # architecture and size, such as `yolov8n-seg`

    @property
    def size_letter(self) -> str:
        """The letter of the YOLOv8 whose first layer has as many channels; empty if there is none."""
        channels = self.network.first_channels
        return next((size.letter for size in SIZES if size.channels(64) == channels), "")


def load_yolo(path: Path) -> YoloModel:
    """Load the YOLO of an Ultralytics file in float32 on the CPU. Nothing in the file is executed.

    The file may hold a YOLOv5u, YOLOv8, YOLO11 or YOLO26 for detection or segmentation, of any size, fused or not, or
    another network of their layers.

    Raises:
        BrokenWeightsError: the file cannot be read, is not such a network, or is inconsistent.
    """
    file = read_torch_file(path)
    model = _model_in(file)
    task = TASKS.get(model.name, model.name.rpartition(".")[2])
    if task in WITHOUT_BOXES:
        raise BrokenWeightsError(
            f"{file.name} is a model of the task {task}, which finds no boxes; needed: detect or segment"
        )
    if task not in ("detect", "segment"):
        raise BrokenWeightsError(
            f"{file.name} is a model of the task {task}; needed: detect or segment, of {KNOWN_FAMILIES}. "
            f"Export others to ONNX: yolo export model={file.name} format=onnx"
        )
    network, weights = build_network(model, file)
    classes = _class_names(model.state.get("names"), file.name)
    if network.has_masks != (task == "segment"):
        raise BrokenWeightsError(f"{file.name} is a model of the task {task}, but its head is for another one")
    if network.head.classes != len(classes):
        raise BrokenWeightsError(
            f"{file.name} has {network.head.classes} classes and {len(classes)} class names; needed: the same number"
        )
    _check_shapes(network, file.name)
    _load_weights(network, {name: file.tensor(stored) for name, stored in weights.items()}, file.name)
    return YoloModel(network.eval().requires_grad_(False), classes, _name(model, path))


def _model_in(file: TorchFile) -> Inert:
    """Return the model; in a training checkpoint, the exponential moving average (EMA)."""
    content = file.content
    if not isinstance(content, dict):
        raise BrokenWeightsError(f"{file.name} does not hold an Ultralytics model")
    model = content.get("ema") or content.get("model")
    if isinstance(model, Inert) and model.name.startswith("ultralytics.nn."):
        return model
    state = model if isinstance(model, dict) else content
    if any(isinstance(name, str) and name.startswith(STARTS_OF_SAM) for name in state):
        raise BrokenWeightsError(f"{file.name} is a checkpoint of a SAM, which finds no objects; needed: a detector")
    if any(isinstance(value, StoredTensor) for value in state.values()):
        raise BrokenWeightsError(f"{file.name} has tensors without layers; needed: the file that Ultralytics writes")
    found = model.name if isinstance(model, Inert) else type(model).__name__
    raise BrokenWeightsError(f"{file.name} does not hold an Ultralytics model but {found} under 'model'")


def _check_shapes(network: Yolo, file: str) -> None:
    """Run a network on the device `meta`, which computes shapes only.

    Raises:
        BrokenWeightsError: the layers do not fit together, or the strides are not those of the maps.
    """
    try:
        edges, scores, *_ = network.outputs(torch.zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE, device="meta"))
        distances = network.head.dfl(edges)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise BrokenWeightsError(f"{file} is inconsistent: its layers do not fit together: {reason}") from None
    strides = list(network.head.strides)
    cells = sum((TRIAL_SIDE // stride) ** 2 for stride in strides if stride > 0)
    if distances.shape != (1, 4, cells) or scores.shape != (1, network.head.classes, cells):
        raise BrokenWeightsError(f"{file} has strides {strides}, which are not those of its maps")


def _load_weights(network: Yolo, state: dict[str, Tensor], file: str) -> None:
    difference = differences(state, network.state_dict())
    if difference.count:
        raise BrokenWeightsError(f"{file} is inconsistent: {difference}")
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    network.load_state_dict(weights, assign=True)


def _name(model: Inert, path: Path) -> str:
    """Return the name of the description that a model was built from, such as `yolo11n-seg`, or else the file's."""
    description = model.state.get("yaml")
    file = description.get("yaml_file") if isinstance(description, dict) else None
    name = PurePosixPath(file.replace("\\", "/")).stem if isinstance(file, str) else ""
    return name if NAME.fullmatch(name) else path.stem


def _class_names(names: Any, file: str) -> tuple[str, ...]:
    """Return the class names by class id, from a list or a dict."""
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BrokenWeightsError(f"{file} has no class names: a list or dict of them is needed under 'names'")
    return tuple(names)
