"""Folders in the format of transformers: `config.json`, weights as safetensors, and the files of the preprocessing.

Nothing is downloaded, and no code of a folder is executed: the classes are transformers' own, and weights in the older
format, which is a pickle, are refused.
"""

import importlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.foreign_files import foreign_kind

CONFIG = "config.json"
IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt")


def model_type_of(folder: Path) -> str:
    """Return the type of a folder's model, such as `owlv2`, from its `config.json`.

    Raises:
        BrokenWeightsError: the folder has no `config.json`, or none of a model.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError:
        raise BrokenWeightsError(
            f"could not load {folder.name}: the folder has no {CONFIG}; needed: a folder written by save_pretrained of "
            f"transformers"
        ) from None
    except ValueError:
        raise BrokenWeightsError(f"could not load {folder.name}: {CONFIG} is not JSON") from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(found, str):
        raise BrokenWeightsError(f"could not load {folder.name}: {CONFIG} has no model_type")
    return found


def model_folders(directory: Path) -> list[tuple[str, Path]]:
    """Return the folders in a directory that hold a model, sorted by name: type of the model, path.

    A link that leads out of the directory is left out.
    """
    directory = directory.expanduser().resolve()
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.is_dir() and path.resolve().parent == directory:
            with suppress(BrokenWeightsError):
                found.append((model_type_of(path), path))
    return found


def transformers_class(name: str) -> Any:
    """Return a class of transformers.

    Raises:
        BrokenWeightsError: transformers is not installed, or too old to have the class.
    """
    try:
        # importing takes seconds, so it happens only when a model is loaded
        library = importlib.import_module("transformers")
        found = getattr(library, name)
    except ImportError:
        raise BrokenWeightsError(
            "the package transformers is not installed: pip install 'label-studio-sam[transformers]'"
        ) from None
    except AttributeError:
        raise BrokenWeightsError(
            f"transformers has no {name}: pip install --upgrade 'label-studio-sam[transformers]'"
        ) from None
    library.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    return found


def load_model(folder: Path, class_name: str) -> Any:
    """Return a model with the weights of a folder, in float32 on the CPU.

    Raises:
        BrokenWeightsError: transformers is not installed, or the folder has no such weights in safetensors format;
            the message names the first tensors that are missing or have another shape.
    """
    if not any(folder.glob("*.safetensors")):
        pickled = ", and its weights are a pickle, which is not read" if any(folder.glob("*.bin")) else ""
        raise BrokenWeightsError(
            f"could not load {folder.name}: the folder has no model.safetensors{pickled}; needed: a folder written by "
            f"save_pretrained of transformers"
        )
    for path in sorted(folder.glob("*.safetensors")):
        kind = foreign_kind(path)
        if kind:
            raise BrokenWeightsError(f"could not load {folder.name}: {path.name} is {kind}")
    try:
        model, found = transformers_class(class_name).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype="float32",
        )
    except BrokenWeightsError as error:
        raise BrokenWeightsError(f"could not load {folder.name}: {error}") from None
    except Exception as error:  # noqa: BLE001  # transformers and safetensors raise many types for a broken folder
        raise BrokenWeightsError(f"could not load {class_name} from {folder.name}: {first_line(error)}") from None
    # transformers gives missing weights random values, and only logs it
    wrong = [f"{name} is missing" for name in sorted(found["missing_keys"])]
    wrong += [
        f"{name} has shape {tuple(theirs)}; needed: {tuple(ours)}" for name, theirs, ours in found["mismatched_keys"]
    ]
    if wrong:
        raise BrokenWeightsError(f"the weights in {folder.name} are not those of {class_name}: {'; '.join(wrong[:3])}")
    return model.eval().requires_grad_(False)


def load_image_processor(folder: Path, class_name: str) -> Any:
    """Return an image processor with the settings of a folder.

    Raises:
        BrokenWeightsError: the folder has no such settings.
    """
    return _load_part(folder, class_name, IMAGE_PROCESSOR_FILES)


def load_tokenizer(folder: Path, class_name: str) -> Any:
    """Return a tokenizer with the vocabulary of a folder.

    Raises:
        BrokenWeightsError: the folder has no such vocabulary.
    """
    return _load_part(folder, class_name, TOKENIZER_FILES)


def _load_part(folder: Path, class_name: str, files: tuple[str, ...]) -> Any:
    # transformers would use a default for what is missing, and an empty vocabulary
    if not any((folder / file).is_file() for file in files):
        raise BrokenWeightsError(f"{folder.name} lacks a file of the model; needed: {' or '.join(files)}")
    try:
        return transformers_class(class_name).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001  # as above
        raise BrokenWeightsError(f"could not load {class_name} from {folder.name}: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
