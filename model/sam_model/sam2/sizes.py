"""Sizes of the published SAM 2 and EfficientTAM models, and the parts of their checkpoints that images do not need.

SAM 2 and SAM 2.1 have the same networks for images, with other weights.

Sources: SAM 2, arXiv:2408.00714, appendix C; Hiera, arXiv:2306.00989; the configurations of sam2 1.1.0 (Apache-2.0);
EfficientTAM, arXiv:2411.18933, and its configurations (Apache-2.0).
"""

from collections.abc import Set
from dataclasses import dataclass

from sam_model.sam.sizes import DecoderSize, VitSize

MEMORY_KEYS = (  # what tracks objects through videos: modules and parameters of the checkpoints, not used here
    "mask_downsample",
    "maskmem_tpos_enc",
    "memory_attention",
    "memory_encoder",
    "no_mem_pos_enc",
    "no_obj_embed_spatial",
    "no_obj_ptr",
    "obj_ptr_proj",
    "obj_ptr_tpos_proj",
)


@dataclass(frozen=True)
class HieraSize:
    """A hierarchical vision transformer of four stages; each stage has twice the channels and half the side of the one
    before.
    """

    width: int  # channels of the first stage
    heads: int  # of the first stage; they double with the channels
    depths: tuple[int, ...]  # blocks, per stage
    global_blocks: tuple[int, ...]  # which blocks attend globally
    windows: tuple[int, ...] = (8, 4, 14, 7)  # side of an attention window, in tokens, per stage
    position_grid: int = 7  # side of the learned map of global positions

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels, per stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True)
class Sam2Size(DecoderSize):
    """One model: its name in the registry, and its image encoder."""

    name: str
    encoder: HieraSize | VitSize  # VitSize is EfficientTAM's


TINY = HieraSize(width=96, heads=1, depths=(1, 2, 7, 2), global_blocks=(5, 7, 9))
SMALL = HieraSize(width=96, heads=1, depths=(1, 2, 11, 2), global_blocks=(7, 10, 13))
BASE_PLUS = HieraSize(width=112, heads=2, depths=(2, 3, 16, 3), global_blocks=(12, 16, 20), position_grid=14)
LARGE = HieraSize(width=144, heads=2, depths=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8))

ENCODERS = {"tiny": TINY, "small": SMALL, "base_plus": BASE_PLUS, "large": LARGE}
SIZES = {  # SAM 2.1 first: a checkpoint without parts for videos counts as SAM 2.1
    f"{version}_hiera_{encoder}": Sam2Size(f"{version}_hiera_{encoder}", ENCODERS[encoder])
    for version in ("sam2.1", "sam2")
    for encoder in ENCODERS
}

EFFICIENT_TAM_SIZES = {
    f"{name}{suffix}": Sam2Size(
        f"{name}{suffix}",
        VitSize(width, depth=12, heads=width // 64, global_blocks=(2, 5, 8, 11)),
        image_size=side,
    )
    for suffix, side in (("", 1024), ("_512x512", 512))
    for name, width in (("efficienttam_ti", 192), ("efficienttam_s", 384))
}


def name_by_memory(name: str, memory: Set[str]) -> str:
    """Return the name of a checkpoint whose image parts fit model `name` and whose parts for videos are `memory`.

    Only SAM 2.1 has a token for the absence of an object; a checkpoint without any parts for videos counts as SAM 2.1.
    """
    is_first_version = bool(memory) and "no_obj_embed_spatial" not in memory
    return name.replace("sam2.1_", "sam2_") if is_first_version else name
