"""Files in the format of Ultralytics, made without it: a pickled model of half precision, with seeded values."""

import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.yolo import attention, blocks, heads
from sam_model.yolo.network import Yolo
from sam_model.yolo.sizes import SIZES, YoloSize
from sam_model.yolo.yolo_v8 import yolo_v8
from sam_testing.seeded_checkpoints import values_for

CLASSES = ("person", "dog", "bicycle")
TINY = YoloSize("tiny", depth=1 / 3, width=0.125, max_channels=1024)
SIZE_N = SIZES[0]
FEW = 5.0  # standard deviations of the class logits between their mean and 0
TASKS = "ultralytics.nn.tasks"
BLOCK = "ultralytics.nn.modules.block"
PLACES: dict[type[nn.Module], tuple[str, str]] = {
    attention.Attention: (BLOCK, "Attention"),
    attention.C2psa: (BLOCK, "C2PSA"),
    attention.PsaBlock: (BLOCK, "PSABlock"),
    blocks.Bottleneck: (BLOCK, "Bottleneck"),
    blocks.C2f: (BLOCK, "C2f"),
    blocks.C3: (BLOCK, "C3"),
    blocks.Concat: ("ultralytics.nn.modules.conv", "Concat"),
    blocks.Conv: ("ultralytics.nn.modules.conv", "Conv"),
    blocks.SPPF: (BLOCK, "SPPF"),
    heads.Dfl: (BLOCK, "DFL"),
    heads.FusedPrototypes: (BLOCK, "Proto26"),
    heads.Prototypes: (BLOCK, "Proto"),
}


def seeded_yolo(size: YoloSize = TINY, classes: int = len(CLASSES), has_masks: bool = False, seed: int = 0) -> Yolo:
    """Return a YOLOv8 with values drawn from `seed`, whose class scores are around 0.5."""
    return seeded(yolo_v8(size, classes, has_masks), seed)


def seeded(network: Yolo, seed: int = 0) -> Yolo:
    """Give a network values drawn from `seed`."""
    network.load_state_dict({name: _values(name, tensor, seed) for name, tensor in network.state_dict().items()})
    return network.eval()


def write_yolo_file(
    path: Path,
    size: YoloSize = TINY,
    names: Any = CLASSES,
    has_masks: bool = False,
    *,
    network: Yolo | None = None,
    task: str | None = None,
    is_legacy: bool = False,
    is_of_training: bool = False,
    is_fused: bool = False,
    strides: tuple[float, ...] = (8.0, 16.0, 32.0),
    seed: int = 0,
    finds_few: bool = False,
) -> Path:
    """Write a network as Ultralytics does, a seeded YOLOv8 by default.

    `names` is written as the class names, whatever its type.
    """
    classes = len(names) if isinstance(names, tuple) else len(CLASSES)
    network = network or seeded_yolo(size, classes, has_masks, seed)
    if finds_few:
        find_few(network)
    network = network.half()
    has_masks = network.has_masks
    description = f"yolov8{size.letter}-seg.yaml" if has_masks else f"yolov8{size.letter}.yaml"
    if is_fused:
        network.fuse()
    with pretended_classes() as pretended:
        model = pretended(TASKS, task or ("SegmentationModel" if has_masks else "DetectionModel"))
        model.add_module("model", _disguised_layers(network, strides, pretended))
        model.names = dict(enumerate(names)) if isinstance(names, tuple) else names
        model.stride = torch.tensor(strides)
        model.task = "segment" if has_masks else "detect"
        model.yaml = {"nc": classes, "yaml_file": description}
        content: dict[str, Any] = {
            "epoch": -1,
            "model": model,
            "ema": None,
            "date": "2026-01-01T00:00:00",
            "version": "8.4.0",
        }
        if is_of_training:  # as it stands beside a run: with the optimizer's numbers, metrics and arguments
            content |= {
                "epoch": 3,
                "ema": model,
                "model": None,
                "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.01}]},
                "train_metrics": {"fitness": np.float64(0.5)},
                "train_args": {"project": Path("runs"), "device": torch.device("cpu"), "freeze": None},
            }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old format wants the classes' source, and these have none
            torch.save(content, path, _use_new_zipfile_serialization=not is_legacy)
    return path


@torch.no_grad()
def find_few(network: Yolo) -> None:
    """Change the class scores so that few cells of an image are objects, as with a trained network."""
    layers = [network.get_submodule(f"model.22.cv3.{index}.2") for index in range(3)]
    outputs: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda *call: outputs.append(call[-1])) for layer in layers]
    network(F.interpolate(torch.rand((1, 3, 10, 10), generator=torch.Generator().manual_seed(0)), (320, 320)))
    for hook in hooks:
        hook.remove()
    for layer, logits in zip(layers, outputs, strict=True):
        deviation, mean = torch.std_mean(logits, dim=(0, 2, 3))
        layer.get_parameter("weight").div_(deviation[:, None, None, None])
        layer.get_parameter("bias").sub_(mean).div_(deviation).sub_(FEW)


@contextmanager
def pretended_classes() -> Iterator[Any]:
    """A function (module, class) -> an empty `nn.Module` that pickles as that class, while the context lasts."""
    before = dict(sys.modules)

    def make(module: str, name: str) -> nn.Module:
        kind = type(name, (nn.Module,), {"__module__": module})
        for depth in range(1, module.count(".") + 2):
            part = ".".join(module.split(".")[:depth])
            if part not in sys.modules:
                sys.modules[part] = types.ModuleType(part)
        if not hasattr(sys.modules[module], name):
            setattr(sys.modules[module], name, kind)
        made: nn.Module = getattr(sys.modules[module], name)()
        return made

    try:
        yield make
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]


def _disguised_layers(network: Yolo, strides: tuple[float, ...], pretended: Any) -> nn.Module:
    layers = nn.Sequential()
    for index, (layer, sources) in enumerate(zip(network.model, network.sources, strict=True)):
        disguise = _disguised(layer, pretended)
        reads = [-1 if source == index - 1 else source for source in sources]
        disguise.i, disguise.f = index, reads[0] if len(reads) == 1 else reads  # type: ignore[assignment]
        layers.add_module(str(index), disguise)
    disguise.stride = torch.tensor(strides)
    return layers


def _disguised(module: nn.Module, pretended: Any) -> nn.Module:
    """Return a module that pickles as Ultralytics' own, with its attributes."""
    if isinstance(module, heads.Head):
        name = "Detect" if module.proto is None else "Segment"
        name += "26" if isinstance(module.proto, heads.FusedPrototypes) else ""
        disguise: nn.Module = pretended("ultralytics.nn.modules.head", name)
    else:
        disguise = pretended(*PLACES[type(module)]) if type(module) in PLACES else module
    disguise._parameters, disguise._buffers = module._parameters, module._buffers
    for attribute, value in _attributes(module).items():
        setattr(disguise, attribute, value)
    is_fused = isinstance(module, blocks.Conv) and isinstance(module.bn, nn.Identity)
    for name, child in list(module.named_children()):
        if not (is_fused and name == "bn"):
            disguise.add_module(name, _disguised(child, pretended))
    if is_fused:
        kind = type(disguise)
        kind.forward_fuse = _forward_fuse  # type: ignore[attr-defined]
        disguise.forward = disguise.forward_fuse  # type: ignore[method-assign] # a bound method, as Ultralytics leaves it
    return disguise


def _forward_fuse(self: nn.Module, x: Tensor) -> Tensor:
    return x


_forward_fuse.__name__ = "forward_fuse"  # the name that is pickled


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes that Ultralytics' module has and that its behaviour depends on."""
    match module:
        case blocks.Bottleneck() | attention.PsaBlock():
            return {"add": module.has_shortcut}
        case blocks.SPPF():
            return {"n": module.repeats, "add": module.has_shortcut}
        case blocks.Concat():
            return {"d": 1}
        case attention.Attention():
            return {"num_heads": module.heads, "key_dim": module.key_channels}
    return {}


def _values(name: str, empty: Tensor, seed: int) -> Tensor:
    if name.endswith("dfl.conv.weight"):
        return torch.arange(16.0).reshape(empty.shape)
    return values_for(name, empty, seed)
