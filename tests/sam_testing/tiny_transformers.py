"""Folders of tiny models of transformers with seeded weights, as `save_pretrained` writes them."""

import json
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


def tiny_vision_config() -> dict[str, object]:
    """Return the configuration of an image encoder of SAM 3 for images of 56 pixels, with 4 x 4 patches."""
    return {
        "backbone_config": {
            **LAYERS, "image_size": 56, "patch_size": 14, "window_size": 2, "global_attn_indexes": [1],
            "pretrain_image_size": 28, "hidden_size": 32, "model_type": "sam3_vit_model",
        },
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "model_type": "sam3_vision_model",
    }  # fmt: skip


PROMPTS = {"hidden_size": 32, "mask_input_channels": 16}
MASKS = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32}


def seed(model: torch.nn.Module) -> None:
    """Give a model random values that make wrong layers show; transformers' own are small."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * (1.5 / parameter[0].numel()) ** 0.5)
            else:
                parameter.add_(0.1 * noise)


def write_tiny_sam3_tracker(folder: Path) -> Path:
    """Write a SAM 3 for clicks, with images of 56 pixels."""
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    vision = tiny_vision_config() | {"scale_factors": [4.0, 2.0, 1.0]}
    config = Sam3TrackerConfig(
        vision_config=vision,
        prompt_encoder_config={**PROMPTS, "image_size": 56, "patch_size": 14},
        mask_decoder_config=MASKS,
    )
    model = Sam3TrackerModel(config)
    seed(model)
    model.save_pretrained(folder)
    write_pixel_statistics(folder, 56)
    return folder


def write_pixel_statistics(folder: Path, side: int) -> None:
    """Write the settings of the image processor; transformers' own needs torchvision."""
    settings = {
        "image_processor_type": "Sam3ImageProcessor",
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.25, 0.2],
        "size": {"height": side, "width": side},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def tiny_sam3_config() -> dict[str, object]:
    """Return the configuration of a SAM 3 for texts, with images of 56 pixels."""
    narrow = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    return {
        "vision_config": tiny_vision_config(),
        "text_config": {
            **LAYERS, "vocab_size": len(CLIP_TOKENS), "max_position_embeddings": 32, "projection_dim": 16,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "model_type": "clip_text_model",
        },
        "geometry_encoder_config": {**narrow, "num_layers": 1},
        "detr_encoder_config": {**narrow, "num_layers": 1},
        "detr_decoder_config": {**narrow, "num_layers": 2, "num_queries": 10},
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 4},
    }  # fmt: skip


def write_tiny_sam3(folder: Path) -> Path:
    """Write a SAM 3 for texts."""
    from transformers import Sam3Config, Sam3Model

    model = Sam3Model(Sam3Config(**tiny_sam3_config()))
    seed(model)
    model.save_pretrained(folder)
    write_clip_tokenizer(folder, 32)
    write_pixel_statistics(folder, 56)
    return folder


def write_tiny_sam3_video(folder: Path) -> Path:
    """Write a SAM 3 for videos, as it is published: for texts and for clicks, with one image encoder."""
    from safetensors.torch import save_file
    from transformers import Sam3VideoConfig, Sam3VideoModel

    config = Sam3VideoConfig(
        detector_config={**tiny_sam3_config(), "model_type": "sam3"},
        tracker_config={
            "model_type": "sam3_tracker_video",
            "vision_config": tiny_vision_config(),
            "prompt_encoder_config": {**PROMPTS, "image_size": 56, "patch_size": 14},
            "mask_decoder_config": MASKS,
            "memory_attention_hidden_size": 32,
            "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 64,
            "memory_attention_rope_feat_sizes": [4, 4],
            "memory_encoder_hidden_size": 32,
            "memory_encoder_output_channels": 8,
            "mask_downsampler_embed_dim": 32,
            "memory_fuser_embed_dim": 32,
            "memory_fuser_num_layers": 1,
            "memory_fuser_intermediate_dim": 64,
            "image_size": 56,
        },
    )
    model = Sam3VideoModel(config)
    seed(model)
    model.config.save_pretrained(folder)
    # `save_pretrained` of transformers 5.24 writes a prefix of this model twice
    tensors = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_clip_tokenizer(folder, 32)
    write_pixel_statistics(folder, 56)
    return folder


def write_tiny_grounding_dino(folder: Path, is_mm: bool = True) -> Path:
    """Write an MM-Grounding-DINO, or a Grounding DINO, whose words are spelt letter by letter."""
    import transformers
    from transformers import BertTokenizer, GroundingDinoImageProcessorPil, SwinConfig

    prefix = "MM" if is_mm else ""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    config = getattr(transformers, f"{prefix}GroundingDinoConfig")(
        backbone_config=SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config={**LAYERS, "vocab_size": len(tokens), "max_position_embeddings": 64, "model_type": "bert"},
        d_model=32, num_queries=12, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, max_text_len=48,
    )  # fmt: skip
    model = getattr(transformers, f"{prefix}GroundingDinoForObjectDetection")(config)
    seed(model)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 110}).save_pretrained(folder)
    return folder


def write_tiny_edgetam(folder: Path) -> Path:
    """Write an EdgeTAM with images of 64 pixels; its backbone needs timm."""
    from transformers import EdgeTamConfig, EdgeTamModel

    config = EdgeTamConfig(
        vision_config={
            "model_type": "edgetam_vision_model",
            "backbone_config": {
                "model_type": "timm_wrapper",
                "architecture": "repvit_m1",
                "num_classes": 2,
                "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
            },
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={**PROMPTS, "image_size": 64, "patch_size": 16},
        mask_decoder_config=MASKS,
    )
    model = EdgeTamModel(config)
    seed(model)
    model.save_pretrained(folder)
    write_pixel_statistics(folder, 64)
    return folder
