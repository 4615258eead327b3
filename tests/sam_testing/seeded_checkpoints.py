"""Checkpoints in the official format with seeded random values: the same on every machine, with no network.

The values are chosen so that a layer that is wrong shows: what every layer adds is of the order of what it gets, logits
are of order 1 to 10 around zero, and they depend on the image and on the prompt.
"""

import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from sam_model.sam.network import SamNetwork
from sam_model.sam.sizes import MOBILE_SAM, HqSamSize, SamSize, TinyVitSize, VitSize
from sam_model.sam2.sizes import HieraSize, Sam2Size
from sam_model.sam_checkpoints import AnySize, empty_sam

# small models of the same make, for tests that only care about the way
TINY_VIT_SAM = SamSize(
    "tiny_vit_sam",
    VitSize(width=32, depth=3, heads=2, global_blocks=(1,), window=3),
    image_size=128,
    width=32,
    decoder_heads=4,
    decoder_mlp=64,
)
TINY_MOBILE_SAM = SamSize(
    "tiny_mobile_sam",
    TinyVitSize(widths=(8, 16, 24, 32), depths=(1, 1, 2, 1), heads=(1, 2, 3, 4), windows=(3, 3, 5, 3), classes=10),
    image_size=128,
    width=32,
    decoder_heads=4,
    decoder_mlp=64,
)
TINY_HQ_SAM = HqSamSize("tiny_hq_sam", TINY_VIT_SAM.encoder, image_size=128, width=32, decoder_heads=4, decoder_mlp=64)
TINY_SAM2 = Sam2Size(
    "tiny_sam2",
    HieraSize(width=16, heads=1, depths=(1, 2, 3, 1), global_blocks=(4,), windows=(4, 2, 6, 4), position_grid=3),
    image_size=128,
    width=32,
    decoder_heads=4,
    decoder_mlp=64,
)
TINY_EFFICIENT_TAM = Sam2Size(
    "tiny_efficient_tam", TINY_VIT_SAM.encoder, image_size=128, width=32, decoder_heads=4, decoder_mlp=64
)
MEMORY = {  # some of SAM 2.1's tensors for videos
    "maskmem_tpos_enc": torch.zeros(7, 1, 1, 64),
    "memory_attention.norm.weight": torch.ones(256),
    "no_obj_embed_spatial": torch.zeros(1, 64),
    "obj_ptr_tpos_proj.bias": torch.zeros(64),
}

EMBEDDINGS = {
    "iou_token",
    "mask_tokens",
    "point_embeddings",
    "not_a_point_embed",
    "no_mask_embed",
    "no_mem_embed",
    "obj_score_token",
    "hf_token",
}
TRANSPOSED = {"output_upscaling", "compress_vit_feat", "embedding_encoder"}  # their weights have the inputs first


def seeded_state(size: AnySize, seed: int = 0) -> dict[str, Tensor]:
    """Return a state dict with the official keys and shapes of `size` and values drawn from `seed`."""
    return {name: values_for(name, tensor, seed) for name, tensor in empty_sam(size).state_dict().items()}


def write_seeded_checkpoint(path: Path, size: AnySize = MOBILE_SAM, seed: int = 0) -> Path:
    """Write a checkpoint file in the official format: a state dict, saved by PyTorch; SAM 2's has a wrapper and tensors
    for videos.
    """
    state = seeded_state(size, seed)
    torch.save({"model": state | MEMORY} if isinstance(size, Sam2Size) else state, path)
    return path


def seeded_sam(size: AnySize, seed: int = 0) -> SamNetwork:
    """Return the model with these values."""
    model = empty_sam(size)
    model.load_state_dict(seeded_state(size, seed), assign=True)
    return model.eval()


def key_lines(state: dict[str, Tensor]) -> list[str]:
    """Return one line per tensor, sorted: name, shape, dtype; as in the golden lists of the official keys."""
    return sorted(
        f"{name} {'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in state.items()
    )


def values_for(name: str, empty: Tensor, seed: int) -> Tensor:
    """Return values for a tensor; its name is part of the seed, so that the order of the tensors does not matter."""
    shape, kind = empty.shape, name.rpartition(".")[2]
    generator = torch.Generator().manual_seed(1_000_003 * seed + zlib.crc32(name.encode()))
    normal = torch.randn(shape, generator=generator)
    if "iou_prediction_head.layers.2" in name:  # predicted IoUs around 0.7, so that few masks fall to a threshold
        return 0.7 + 0.02 * normal if kind == "bias" else 0.1 * normal / math.sqrt(shape[1])
    if kind == "num_batches_tracked":
        return torch.tensor(100)
    if kind == "running_var":
        return 0.5 + torch.rand(shape, generator=generator)
    if kind in ("bias", "running_mean"):
        return 0.1 * normal
    if kind == "positional_encoding_gaussian_matrix":
        return normal
    if kind in ("attention_biases", "pos_embed", "pos_embed_window") or EMBEDDINGS & set(name.split(".")):
        return 0.5 * normal
    if kind in ("rel_pos_h", "rel_pos_w"):
        return normal / math.sqrt(shape[1])
    if normal.ndim == 1:  # the weight of a norm
        return 1 + 0.1 * normal
    fan_in = shape[0] if TRANSPOSED & set(name.split(".")) else math.prod(shape[1:])
    gain = 2 if kind == "weight" and name.split(".")[-2] in ("q_proj", "k_proj") else 1.5
    return normal * math.sqrt(gain / fan_in)
