"""Loading of checkpoints of the Segment Anything family; the model is recognised by keys and shapes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sam_model.sam.hq_sam import HqSam
from sam_model.sam.network import SamNetwork
from sam_model.sam.sam import Sam
from sam_model.sam.sizes import HQ_SIZES, HqSamSize, SamSize
from sam_model.sam.sizes import SIZES as SAM_1_SIZES
from sam_model.sam2.sam2 import Sam2
from sam_model.sam2.sizes import EFFICIENT_TAM_SIZES, MEMORY_KEYS, Sam2Size, name_by_memory
from sam_model.sam2.sizes import SIZES as SAM_2_SIZES
from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.loading import Differences, differences, read_checkpoint

AnySize = SamSize | Sam2Size
SIZES: dict[str, AnySize] = {**SAM_1_SIZES, **SAM_2_SIZES, **EFFICIENT_TAM_SIZES, **HQ_SIZES}

FAMILIES = "SAM, MobileSAM, HQ-SAM, SAM 2 or EfficientTAM"
OTHER_KINDS = {  # start of a key: what a checkpoint with such keys is
    "detector.": (
        "SAM 3's checkpoint in its authors' format; needed: its folder, `label-studio-sam weights download sam3`"
    ),
    "spatial_perceiver.": (
        "EdgeTAM's checkpoint in its authors' format; needed: its folder, `label-studio-sam weights download edgetam`"
    ),
    "vision_encoder.": "a file of a model of transformers; needed: its folder, with config.json",
    "model.0.": "a state dict of a YOLO; needed: the file that Ultralytics writes, with the model",
}


def load_sam(path: Path, sizes: Iterable[AnySize] = SIZES.values()) -> SamNetwork:
    """Load the model of a checkpoint in float32 on the CPU.

    Raises:
        BrokenWeightsError: the file cannot be read, contains code, or fits none of `sizes`; the message lists what is
            missing, unknown or of another shape.
    """
    state = read_checkpoint(path)
    return sam_from_state(state, path.name, sorted(sizes, key=lambda size: not _is_named_by(path.name, size)))


def _is_named_by(file: str, size: AnySize) -> bool:
    """Return whether a file's name has the image size of a model, as `efficienttam_s_512x512.pt` has.

    The tensors of EfficientTAM are the same for 512 and 1024 pixels.
    """
    return f"{size.image_size}x{size.image_size}" in file


def sam_from_state(state: dict[str, Tensor], file: str, sizes: Iterable[AnySize] = SIZES.values()) -> SamNetwork:
    """Return the model that a state dict belongs to; `file` is its name in messages.

    SAM 2's parts for videos are ignored.

    Raises:
        BrokenWeightsError: the state dict fits none of `sizes`.
    """
    memory = {name for name in state if name.split(".")[0] in MEMORY_KEYS}
    state = {name: tensor for name, tensor in state.items() if name not in memory}
    if not state:
        raise BrokenWeightsError(
            f"{file} has SAM 2's tensors for videos only; needed: the image encoder and the decoder"
        )
    compared: list[tuple[SamNetwork, Differences]] = []
    for size in sizes:
        empty = empty_sam(size)
        compared.append((empty, differences(state, empty.state_dict())))
        if not compared[-1][1].count:
            break
    model, difference = max(compared, key=lambda one: (len(state) - one[1].count_in_file, -one[1].count))
    if difference.count:
        raise BrokenWeightsError(f"{file} {_what_it_is(state, model, difference)}")
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    model.load_state_dict(weights, assign=True)
    if isinstance(model, Sam2):
        model.name = name_by_memory(model.name, memory)
    return model.eval()


def _what_it_is(state: dict[str, Tensor], model: SamNetwork, difference: Differences) -> str:
    """Return what a checkpoint is that fits no model; `model` is the most similar one."""
    if any(".lora_" in key for key in state):
        return "has the tensors of LoRA, which change a model; needed: the whole model, with LoRA merged into it"
    parameters = model.state_dict()
    parts = {name.partition(".")[0] for name in parameters}
    lacking = sorted(parts - {name.partition(".")[0] for name in state})
    if lacking and not difference.count_in_file:
        return f"is a part of a checkpoint: it has no {' and no '.join(lacking)}; needed: the whole model"
    if len(difference.missing) < len(parameters) // 2 or not difference.count_in_file:
        return f"is not a checkpoint of {model.name}, the most similar model: {difference}"
    kinds = (what for start, what in OTHER_KINDS.items() if any(key.startswith(start) for key in state))
    other_kind = next(kinds, None)
    if other_kind is not None:
        return f"is {other_kind}"
    return f"is not a checkpoint of {FAMILIES}; its first tensors are {', '.join(list(state)[:3])}"


def empty_sam(size: AnySize) -> SamNetwork:
    """Return a model without values: it takes no memory, and no time for random initialisation."""
    with torch.device("meta"), _NoInitialisation():
        return sam_of_size(size)


def sam_of_size(size: AnySize) -> SamNetwork:
    """Return a model with PyTorch's random values."""
    if isinstance(size, Sam2Size):
        return Sam2(size)
    return HqSam(size) if isinstance(size, HqSamSize) else Sam(size)


class _NoInitialisation(TorchFunctionMode):
    """Skips random initialisation. Without storage it has no effect, but PyTorch imports its compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, Tensor.normal_, Tensor.uniform_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
