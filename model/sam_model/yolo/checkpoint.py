"""Loading of Ultralytics files: the network that a file belongs to, with task, class names and size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.loading import differences
from sam_model.yolo.network import YoloV8
from sam_model.yolo.pickle_reader import Inert
from sam_model.yolo.sizes import SIZES, STRIDES, YoloSize
from sam_model.yolo.stand_ins import TASKS
from sam_model.yolo.torch_files import StoredTensor, TorchFile, read_torch_file

FIRST_LAYER = "model.0.conv.weight"  # its first dimension is the smallest number of channels
LAST_CLASS_LAYER = "model.22.cv3.0.2.bias"  # its length is the number of classes
MAX_MODULES = 20_000  # the largest YOLOv8 has about a thousand
MAX_NESTED = 50


@dataclass(frozen=True)
class YoloModel:
    """A network with its weights, and the class names of its file."""

    network: YoloV8
    class_names: tuple[str, ...]

    @property
    def name(self) -> str:
        """Architecture and size, such as `yolov8n-seg`."""
        return f"yolov8{self.network.size.letter}" + ("-seg" if self.network.has_masks else "")


def load_yolo(path: Path, sizes: Iterable[YoloSize] = SIZES) -> YoloModel:
    """Load the YOLOv8 of an Ultralytics file in float32 on the CPU. Nothing in the file is executed.

    Raises:
        BrokenWeightsError: the file cannot be read, is not a YOLOv8 for detection or segmentation, or is inconsistent.
    """
    file = read_torch_file(path)
    model = _model_in(file)
    task = TASKS[model.name]
    if task not in ("detect", "segment"):
        raise BrokenWeightsError(f"{file.name} is a model of the task {task}; needed: a YOLOv8 for detect or segment")
    state = {name: file.tensor(stored) for name, stored in _tensors(model, file.name)}
    classes = _class_names(model.state.get("names"), file.name)
    strides = model.state.get("stride")
    if isinstance(strides, StoredTensor) and file.tensor(strides).tolist() != list(STRIDES):
        raise BrokenWeightsError(f"{file.name} has strides {file.tensor(strides).tolist()}; needed: {list(STRIDES)}")
    return YoloModel(network_from_state(state, task == "segment", len(classes), file.name, sizes), classes)


def network_from_state(
    state: dict[str, Tensor], has_masks: bool, classes: int, file: str, sizes: Iterable[YoloSize] = SIZES
) -> YoloV8:
    """Return the network that a state dict belongs to; `file` is its name in messages.

    Raises:
        BrokenWeightsError: no size fits, keys or shapes differ, or the number of classes is not the number of names.
    """
    first, last = state.get(FIRST_LAYER), state.get(LAST_CLASS_LAYER)
    size = next((size for size in sizes if first is not None and len(first) == size.channels(64)), None)
    if size is None or last is None:
        raise BrokenWeightsError(
            f"{file} is not a YOLOv8; its first tensors are {', '.join(list(state)[:3])}. "
            f"Use other detectors as ONNX files (`yolo export format=onnx`)"
        )
    if len(last) != classes:
        raise BrokenWeightsError(f"{file} has {len(last)} classes and {classes} class names; needed: the same number")
    with torch.device("meta"):  # shapes without memory
        network = YoloV8(size, classes, has_masks)
    difference = differences(state, network.state_dict())
    if difference.count:
        raise BrokenWeightsError(f"{file} is not a YOLOv8{size.letter}, the most similar model: {difference}")
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def _model_in(file: TorchFile) -> Inert:
    """Return the model; in a training checkpoint, the exponential moving average (EMA)."""
    content = file.content
    if not isinstance(content, dict):
        raise BrokenWeightsError(f"{file.name} does not hold an Ultralytics model")
    model = content.get("ema") or content.get("model")
    if not isinstance(model, Inert) or model.name not in TASKS:
        found = model.name if isinstance(model, Inert) else type(model).__name__
        raise BrokenWeightsError(f"{file.name} does not hold an Ultralytics model but {found} under 'model'")
    return model


def _tensors(model: Inert, file: str) -> Iterator[tuple[str, StoredTensor]]:
    """Yield names and tensors of a pickled `torch.nn.Module`, as `state_dict` returns them."""
    remaining: list[tuple[str, Any, int]] = [("", model, 0)]
    for _ in range(MAX_MODULES):
        if not remaining:
            return
        prefix, module, depth = remaining.pop()
        if not isinstance(module, Inert) or depth > MAX_NESTED:
            raise BrokenWeightsError(f"{file}: {prefix.rstrip('.')} is not a module")
        for kind in ("_parameters", "_buffers"):
            for name, stored in _named(module, kind):
                if isinstance(stored, StoredTensor):  # None where a convolution has no bias
                    yield f"{prefix}{name}", stored
        children = [(f"{prefix}{name}.", child, depth + 1) for name, child in _named(module, "_modules")]
        remaining.extend(reversed(children))
    raise BrokenWeightsError(f"{file} has more than {MAX_MODULES} modules")


def _named(module: Inert, kind: str) -> list[tuple[Any, Any]]:
    members = module.state.get(kind)
    return list(members.items()) if isinstance(members, dict) else []


def _class_names(names: Any, file: str) -> tuple[str, ...]:
    """Return the class names by class id, from a list or a dict."""
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BrokenWeightsError(f"{file} has no class names: a list or dict of them is needed under 'names'")
    return tuple(names)
