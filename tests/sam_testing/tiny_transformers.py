"""Folders of tiny models of transformers with seeded weights, as `save_pretrained` writes them."""

from pathlib import Path

import torch

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
CLIP_TOKENS = ["!", "<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def write_clip_tokenizer(folder: Path, max_length: int = 16) -> None:
    """Write a tokenizer that spells words letter by letter."""
    from transformers import CLIPTokenizer

    vocabulary = {token: index for index, token in enumerate(CLIP_TOKENS)}
    CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!", model_max_length=max_length).save_pretrained(folder)


def write_tiny_owl(folder: Path) -> Path:
    """Write an OWLv2 with images of 64 pixels and 16 patches."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

    config = Owlv2Config(
        text_config={
            **LAYERS, "vocab_size": len(CLIP_TOKENS), "max_position_embeddings": 16,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        },
        vision_config={**LAYERS, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2ImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    write_clip_tokenizer(folder)
    return folder
