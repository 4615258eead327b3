"""Our modules for the modules of an Ultralytics file.

The file holds a tree of pickled modules: each has a class name, attributes such as a stride, weights, and children.
Layers know the layers whose maps they read. `build_network` creates our own module for each class name that it knows.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sam_model.weights.errors import BrokenWeightsError
from sam_model.yolo.attention import Attention, C2psa, PsaBlock
from sam_model.yolo.blocks import C3, SPPF, Bottleneck, C2f, Concat, Conv
from sam_model.yolo.heads import Branches, Dfl, FusedPrototypes, Head, Prototypes
from sam_model.yolo.network import Yolo
from sam_model.yolo.pickle_reader import Inert
from sam_model.yolo.sizes import STRIDES
from sam_model.yolo.torch_files import StoredTensor, TorchFile

KNOWN_FAMILIES = "YOLOv5u, YOLOv8, YOLO11 and YOLO26"
MAX_MODULES = 20_000  # the largest known network has about two thousand
MAX_NESTED = 50
MAX_NUMBER = 1_000_000  # of any attribute that is a size
HEADS = ("Detect", "Segment", "Segment26")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "SiLU": lambda: nn.SiLU(inplace=True),
    "ReLU": lambda: nn.ReLU(inplace=True),
    "Identity": nn.Identity,
}


def build_network(model: Inert, file: TorchFile) -> tuple[Yolo, dict[str, StoredTensor]]:
    """Return the network of a pickled model, on the device `meta`, and its stored weights by their keys.

    Raises:
        BrokenWeightsError: the model has a layer that is not known, or an attribute that makes no sense.
    """
    with torch.device("meta"):  # shapes without memory
        builder = _Builder(file)
        return builder.network(model), builder.weights


class _Builder:
    """Creates modules from pickled ones, and collects the stored weights under the new modules' keys."""

    def __init__(self, file: TorchFile) -> None:
        self.file = file
        self.weights: dict[str, StoredTensor] = {}
        self.modules = 0

    def network(self, model: Inert) -> Yolo:
        pickled = self.children(self.child(model, "model", ""), "model")
        if not pickled:
            raise self.error("model", "no layers")
        layers, sources = [], []
        for index, layer in enumerate(pickled):
            path = f"model.{index}"
            sources.append(self.sources(layer, index, path))
            is_last = index == len(pickled) - 1
            if is_last != (_kind(layer) in HEADS):
                raise self.unknown(path, layer)
            if not is_last:
                layers.append(self.build(layer, path))
        return Yolo(layers, sources, self.head(pickled[-1], f"model.{len(pickled) - 1}"))

    def sources(self, layer: Inert, index: int, path: str) -> tuple[int, ...]:
        """Return the indices of the layers that a layer reads; -1, which stands for the one before, for the image."""
        given = layer.state.get("f")
        items: list[Any] = given if isinstance(given, list) else [given]
        first = -index if index else -1  # what the first layer reads is the image
        if not items or not all(type(item) is int and first <= item < index for item in items):
            raise self.error(path, f"f={_shown(given)}")
        return tuple(item if item >= 0 else index + item for item in items)

    def build(self, module: Inert, path: str) -> nn.Module:
        self.modules += 1
        if self.modules > MAX_MODULES or path.count(".") > MAX_NESTED:
            raise self.error(path, "too many modules")
        build = BUILDERS.get(_kind(module))
        if build is None:
            raise self.unknown(path, module)
        return build(self, module, path)

    def part(self, module: Inert, name: str, path: str) -> nn.Module:
        return self.build(self.child(module, name, path), f"{path}.{name}")

    def child(self, module: Inert, name: str, path: str) -> Inert:
        modules = module.state.get("_modules")
        child = modules.get(name) if isinstance(modules, dict) else None
        if not isinstance(child, Inert):
            raise self.error(path, f"no module {name}")
        return child

    def children(self, module: Inert, path: str) -> list[Inert]:
        """Return the children of a container, which are numbered."""
        modules = module.state.get("_modules")
        if not isinstance(modules, dict) or not all(isinstance(child, Inert) for child in modules.values()):
            raise self.error(path, "no modules")
        if list(modules) != [str(index) for index in range(len(modules))]:
            raise self.error(path, "modules without numbers")
        return list(modules.values())

    def parts(self, module: Inert, name: str, path: str) -> list[nn.Module]:
        container = self.child(module, name, path)
        return [
            self.build(child, f"{path}.{name}.{index}")
            for index, child in enumerate(self.children(container, f"{path}.{name}"))
        ]

    def number(self, module: Inert, name: str, path: str, default: int | None = None) -> int:
        value = module.state.get(name, default)
        if type(value) is not int or not 0 <= value <= MAX_NUMBER:
            raise self.error(path, f"{name}={_shown(value)}")
        return value

    def flag(self, module: Inert, name: str, path: str, default: bool | None = None) -> bool:
        value = module.state.get(name, default)
        if type(value) is not bool:
            raise self.error(path, f"{name}={_shown(value)}")
        return value

    def pair(self, module: Inert, name: str, path: str) -> tuple[int, int]:
        value = module.state.get(name)
        sides = (value, value) if type(value) is int else value
        if (
            type(sides) is not tuple
            or len(sides) != 2
            or not all(type(side) is int and 0 <= side <= MAX_NUMBER for side in sides)
        ):
            raise self.error(path, f"{name}={_shown(value)}")
        return sides

    def stored(self, module: Inert, path: str, *names: str) -> set[str]:
        """Note the stored weights of these names; return the names that are there."""
        found = set()
        for kind in ("_parameters", "_buffers"):
            members = module.state.get(kind)
            for name in names:
                tensor = members.get(name) if isinstance(members, dict) else None
                if isinstance(tensor, StoredTensor):
                    self.weights[f"{path}.{name}"] = tensor
                    found.add(name)
        return found

    def head(self, module: Inert, path: str) -> Head:
        kind, has_masks = _kind(module), _kind(module) != "Detect"
        modules = module.state.get("_modules")
        present = {name for name, child in modules.items() if child} if isinstance(modules, dict) else set()
        wanted = ("cv2", "cv3", "cv4") if has_masks else ("cv2", "cv3")
        found: list[Branches | None] = []
        for prefix in ("", "one2one_"):
            is_there = present.issuperset(prefix + name for name in wanted)
            lists = [nn.ModuleList(self.parts(module, prefix + name, path)) for name in wanted] if is_there else []
            found.append(Branches(*lists) if is_there else None)
        if not any(found):
            raise self.error(path, f"no modules {', '.join(wanted)}")
        proto = None
        if has_masks:
            build = _fused_prototypes if kind == "Segment26" else _prototypes
            proto = build(self, self.child(module, "proto", path), f"{path}.proto")
        return Head(found[0], found[1], self.part(module, "dfl", path), proto, self.strides(module, path))

    def strides(self, module: Inert, path: str) -> tuple[int, ...]:
        stored = module.state.get("stride")
        with torch.device("cpu"):
            strides = self.file.tensor(stored).tolist() if isinstance(stored, StoredTensor) else None
        if not isinstance(strides, list) or not strides or strides[-1] != STRIDES[-1]:
            raise BrokenWeightsError(f"{self.file.name} has strides {strides}; needed: {list(STRIDES)}")
        return tuple(int(stride) for stride in strides)

    def error(self, path: str, found: str) -> BrokenWeightsError:
        return BrokenWeightsError(f"{self.file.name} is not a valid Ultralytics model: {path or 'model'} has {found}")

    def unknown(self, path: str, module: Inert) -> BrokenWeightsError:
        return BrokenWeightsError(
            f"{self.file.name} has a layer of type {_kind(module)} at {path}, which {KNOWN_FAMILIES} do not have; "
            f"export it to ONNX: yolo export model={self.file.name} format=onnx"
        )


def _kind(module: Inert) -> str:
    """Return the class name without its module."""
    return module.name.rpartition(".")[2]


def _shown(value: object) -> str:
    """Return an attribute's value for a message. Only plain values are shown, since others may be endless."""
    return repr(value)[:80] if type(value) in (str, int, float, bool, type(None)) else f"a {type(value).__name__}"


def _conv2d(builder: _Builder, module: Inert, path: str) -> nn.Conv2d:
    numbers = [builder.number(module, name, path) for name in ("in_channels", "out_channels", "groups")]
    kernel, stride, padding, dilation = (
        builder.pair(module, name, path) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    has_bias = "bias" in builder.stored(module, path, "weight", "bias")
    if not all(numbers) or numbers[0] % numbers[2] or numbers[1] % numbers[2]:
        raise builder.error(path, f"channels {numbers[:2]} in {numbers[2]} groups")
    if module.state.get("padding_mode", "zeros") != "zeros":
        raise builder.error(path, f"padding_mode={_shown(module.state['padding_mode'])}")
    return nn.Conv2d(numbers[0], numbers[1], kernel, stride, padding, dilation, numbers[2], has_bias)


def _conv_transpose2d(builder: _Builder, module: Inert, path: str) -> nn.ConvTranspose2d:
    inputs, outputs = (builder.number(module, name, path) for name in ("in_channels", "out_channels"))
    kernel, stride, padding = (builder.pair(module, name, path) for name in ("kernel_size", "stride", "padding"))
    has_bias = "bias" in builder.stored(module, path, "weight", "bias")
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=has_bias)


def _batch_norm(builder: _Builder, module: Inert, path: str) -> nn.BatchNorm2d:
    builder.stored(module, path, "weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    eps = module.state.get("eps")
    if type(eps) is not float or not 0 < eps < 1:
        raise builder.error(path, f"eps={_shown(eps)}")
    return nn.BatchNorm2d(builder.number(module, "num_features", path), eps=eps)


def _conv(builder: _Builder, module: Inert, path: str) -> Conv:
    conv = _conv2d(builder, builder.child(module, "conv", path), f"{path}.conv")
    modules = module.state["_modules"]
    bn = _batch_norm(builder, modules["bn"], f"{path}.bn") if isinstance(modules.get("bn"), Inert) else nn.Identity()
    return Conv(conv, bn, _activation(builder, builder.child(module, "act", path), f"{path}.act"))


def _activation(builder: _Builder, module: Inert, path: str) -> nn.Module:
    make = ACTIVATIONS.get(_kind(module))
    if make is None:
        raise builder.unknown(path, module)
    return make()


def _bottleneck(builder: _Builder, module: Inert, path: str) -> Bottleneck:
    return Bottleneck(
        builder.part(module, "cv1", path), builder.part(module, "cv2", path), builder.flag(module, "add", path)
    )


def _c2f(builder: _Builder, module: Inert, path: str) -> C2f:
    return C2f(builder.part(module, "cv1", path), builder.part(module, "cv2", path), builder.parts(module, "m", path))


def _c3(builder: _Builder, module: Inert, path: str) -> C3:
    first, second, third = (builder.part(module, name, path) for name in ("cv1", "cv2", "cv3"))
    return C3(first, second, third, builder.parts(module, "m", path))


def _sppf(builder: _Builder, module: Inert, path: str) -> SPPF:
    first, second, pool = (builder.part(module, name, path) for name in ("cv1", "cv2", "m"))
    repeats = builder.number(module, "n", path, default=3)  # files before 8.4 have neither of the two
    return SPPF(first, second, pool, min(repeats, MAX_NESTED), builder.flag(module, "add", path, default=False))


def _max_pool(builder: _Builder, module: Inert, path: str) -> nn.MaxPool2d:
    kernel, stride, padding = (builder.pair(module, name, path) for name in ("kernel_size", "stride", "padding"))
    return nn.MaxPool2d(kernel, stride, padding)


def _upsample(builder: _Builder, module: Inert, path: str) -> nn.Upsample:
    if module.state.get("scale_factor") != 2 or module.state.get("mode") != "nearest":
        raise builder.error(path, f"scale_factor={_shown(module.state.get('scale_factor'))}")
    return nn.Upsample(scale_factor=2, mode="nearest")


def _concat(builder: _Builder, module: Inert, path: str) -> Concat:
    if module.state.get("d") != 1:
        raise builder.error(path, f"d={_shown(module.state.get('d'))}")
    return Concat()


def _attention(builder: _Builder, module: Inert, path: str) -> Attention:
    qkv, proj, pe = (builder.part(module, name, path) for name in ("qkv", "proj", "pe"))
    heads, key_channels = (builder.number(module, name, path) for name in ("num_heads", "key_dim"))
    if not heads or not key_channels:
        raise builder.error(path, f"num_heads={heads}, key_dim={key_channels}")
    return Attention(qkv, proj, pe, heads, key_channels)


def _psa_block(builder: _Builder, module: Inert, path: str) -> PsaBlock:
    return PsaBlock(
        builder.part(module, "attn", path), builder.part(module, "ffn", path), builder.flag(module, "add", path)
    )


def _c2psa(builder: _Builder, module: Inert, path: str) -> C2psa:
    blocks = nn.Sequential(*builder.parts(module, "m", path))
    return C2psa(builder.part(module, "cv1", path), builder.part(module, "cv2", path), blocks)


def _sequential(builder: _Builder, module: Inert, path: str) -> nn.Sequential:
    return nn.Sequential(
        *(builder.build(child, f"{path}.{index}") for index, child in enumerate(builder.children(module, path)))
    )


def _dfl(builder: _Builder, module: Inert, path: str) -> Dfl:
    return Dfl(_conv2d(builder, builder.child(module, "conv", path), f"{path}.conv"))


def _prototypes(builder: _Builder, module: Inert, path: str) -> Prototypes:
    return Prototypes(*(builder.part(module, name, path) for name in ("cv1", "upsample", "cv2", "cv3")))


def _fused_prototypes(builder: _Builder, module: Inert, path: str) -> FusedPrototypes:
    first, upsample, second, third, fuse = (
        builder.part(module, name, path) for name in ("cv1", "upsample", "cv2", "cv3", "feat_fuse")
    )
    refine = nn.ModuleList(builder.parts(module, "feat_refine", path))
    return FusedPrototypes(first, upsample, second, third, refine, fuse)


BUILDERS: dict[str, Callable[[_Builder, Inert, str], nn.Module]] = {
    "Attention": _attention,
    "BatchNorm2d": _batch_norm,
    "Bottleneck": _bottleneck,
    "C2PSA": _c2psa,
    "C2f": _c2f,
    "C3": _c3,
    "C3k": _c3,
    "C3k2": _c2f,
    "Concat": _concat,
    "Conv": _conv,
    "Conv2d": _conv2d,
    "ConvTranspose2d": _conv_transpose2d,
    "DFL": _dfl,
    "DWConv": _conv,
    "Identity": _activation,
    "MaxPool2d": _max_pool,
    "PSABlock": _psa_block,
    "SPPF": _sppf,
    "Sequential": _sequential,
    "Upsample": _upsample,
}
