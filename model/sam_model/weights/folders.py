"""The catalogue of models that are folders of several files, in the format of Hugging Face's transformers."""

from dataclasses import dataclass

from sam_model.weights.catalog import WeightFile

HUGGING_FACE = "https://huggingface.co"
NEEDED = ("config.json", "model.safetensors")  # the last ones of a download, so a folder with them is complete
OPTIONAL = (  # which of them a folder has depends on the model and on the version of transformers that wrote it
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


@dataclass(frozen=True)
class WeightFolder:
    """A model's folder."""

    model: str  # the model's name in the registry, and the folder's
    repository: str  # on Hugging Face
    licence: str
    segments: bool = False  # does it make masks of clicks?
    finds_texts: bool = True  # does it find what texts describe?
    is_gated: bool = False

    def file(self, name: str) -> WeightFile:
        """Return one of the files. No hash is recorded: the first download's is stored beside it."""
        url = f"{HUGGING_FACE}/{self.repository}/resolve/main/{name}"
        return WeightFile(self.model, f"{self.model}/{name}", url, "", 0, self.licence, is_gated=self.is_gated)


FOLDERS = (
    WeightFolder("sam3", "facebook/sam3", "SAM License", segments=True, is_gated=True),
    WeightFolder("edgetam", "yonigozlan/EdgeTAM-hf", "Apache-2.0", segments=True, finds_texts=False),
    WeightFolder("owlv2_base", "google/owlv2-base-patch16-ensemble", "Apache-2.0"),
    WeightFolder(
        "mm_grounding_dino_tiny", "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det", "Apache-2.0"
    ),
    WeightFolder("mm_grounding_dino_base", "openmmlab-community/mm_grounding_dino_base_all", "Apache-2.0"),
    WeightFolder("llmdet_tiny", "iSEE-Laboratory/llmdet_tiny", "Apache-2.0"),
    WeightFolder("llmdet_base", "iSEE-Laboratory/llmdet_base", "Apache-2.0"),
    WeightFolder("llmdet_large", "iSEE-Laboratory/llmdet_large", "Apache-2.0"),
)


def find_folder(name: str) -> WeightFolder | None:
    """Return the folder of the model called `name`, or None if the model is no folder."""
    return next((folder for folder in FOLDERS if folder.model == name), None)
