"""Loading of a folder; the model is recognised by the `model_type` of its `config.json`."""

from pathlib import Path

from sam_model.interfaces import TextDetector
from sam_model.runtime.torch_runtime import Device
from sam_model.transformers_models.model_folder import model_type_of
from sam_model.transformers_models.owl import OwlDetector
from sam_model.weights.errors import BrokenWeightsError

TEXT_DETECTORS = {"owlv2": OwlDetector}


def load_text_detector_of(folder: Path, device: Device = "auto") -> TextDetector:
    """Return the text detector of a folder.

    Raises:
        ValueError: the device is unknown.
        BrokenWeightsError: the folder is of no known text detector, transformers is not installed, or the weights are
            broken.
    """
    found = model_type_of(folder)
    if found not in TEXT_DETECTORS:
        raise BrokenWeightsError(
            f"could not load {folder.name}: its model_type {found!r} is not a text detector's; known: "
            f"{', '.join(TEXT_DETECTORS)}"
        )
    return TEXT_DETECTORS[found](folder, device)
