"""Sizes of the published SAM models.

Sources: SAM, arXiv:2304.02643 (image encoders ViT-B, L, H as in ViTDet, arXiv:2203.16527; prompt encoder and mask
decoder in appendix A); HQ-SAM, arXiv:2306.01567; TinyViT, arXiv:2207.10666, as used by MobileSAM, arXiv:2306.14289.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class VitSize:
    """A plain vision transformer: windowed attention, except for a few blocks with global attention."""

    width: int  # channels of a token
    depth: int  # blocks
    heads: int
    global_blocks: tuple[int, ...]  # which blocks attend globally
    window: int = 14  # side of an attention window, in tokens
    patch: int = 16  # side of a patch, in pixels

    @property
    def early_width(self) -> int:
        """Channels of the map that HQ-SAM reads: the output of the first block with global attention."""
        return self.width


@dataclass(frozen=True)
class TinyVitSize:
    """A TinyViT: one stage of convolutions, then stages of windowed attention."""

    widths: tuple[int, ...] = (64, 128, 160, 320)  # channels, per stage
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks, per stage
    heads: tuple[int, ...] = (2, 4, 5, 10)  # the first stage has no attention; its number is unused
    windows: tuple[int, ...] = (7, 7, 14, 7)  # side of an attention window, in tokens; the first is unused
    strides: tuple[int, ...] = (2, 2, 1)  # between the stages; MobileSAM keeps 64 x 64 tokens in the last one
    classes: int = 1000  # of the classifier, which is part of the checkpoint but never called

    @property
    def early_width(self) -> int:
        """Channels of the map that HQ-SAM reads: the output of the second stage."""
        return self.widths[2]


@dataclass(frozen=True, kw_only=True)
class DecoderSize:
    """The parts that all models share: the prompt encoder and the mask decoder."""

    image_size: int = 1024  # side of the square that the image encoder sees, in pixels
    width: int = 256  # channels of embeddings, prompts and the mask decoder
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp: int = 2048

    @property
    def grid(self) -> int:
        """Side of the image embedding, in tokens: a sixteenth of the image."""
        return self.image_size // 16

    @property
    def low_res(self) -> int:
        """Side of the low-resolution masks of the decoder, which are also the mask inputs, in pixels."""
        return 4 * self.grid


@dataclass(frozen=True)
class SamSize(DecoderSize):
    """One model of the first generation: its name in the registry, and its image encoder."""

    name: str
    encoder: VitSize | TinyVitSize


@dataclass(frozen=True)
class HqSamSize(SamSize):
    """One HQ-SAM: SAM's encoder, and a mask decoder that also reads an early layer of it."""


SAM_B = SamSize("sam_b", VitSize(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)))
SAM_L = SamSize("sam_l", VitSize(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)))
SAM_H = SamSize("sam_h", VitSize(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)))
MOBILE_SAM = SamSize("mobile_sam", TinyVitSize())

SIZES = {size.name: size for size in (MOBILE_SAM, SAM_B, SAM_L, SAM_H)}

HQ_SIZES = {
    name: HqSamSize(name, size.encoder)
    for name, size in (("sam_hq_tiny", MOBILE_SAM), ("sam_hq_b", SAM_B), ("sam_hq_l", SAM_L), ("sam_hq_h", SAM_H))
}
