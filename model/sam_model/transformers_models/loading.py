"""Loading of a folder; the model is recognised by the `model_type` of its `config.json`."""

from collections.abc import Callable, Iterable
from pathlib import Path

from sam_model.interfaces import TextDetector
from sam_model.runtime.torch_runtime import Device
from sam_model.transformers_models import grounding_dino, prompted_network
from sam_model.transformers_models.grounding_dino import GroundingDinoDetector
from sam_model.transformers_models.model_folder import model_type_of
from sam_model.transformers_models.owl import OwlDetector
from sam_model.transformers_models.prompted_network import PromptedNetwork, load_prompted_network
from sam_model.transformers_models.sam3 import Sam3Detector
from sam_model.weights.errors import BrokenWeightsError

TEXT_DETECTORS: dict[str, Callable[[Path, Device], TextDetector]] = {
    "owlv2": OwlDetector,
    "sam3": Sam3Detector,
    "sam3_video": Sam3Detector,  # the type of the published folder
    **dict.fromkeys(grounding_dino.CLASSES, GroundingDinoDetector),
}


def load_text_detector_of(folder: Path, device: Device = "auto") -> TextDetector:
    """Return the text detector of a folder.

    Raises:
        ValueError: the device is unknown.
        BrokenWeightsError: the folder is of no known text detector, transformers is not installed, or the weights are
            broken.
    """
    return TEXT_DETECTORS[_known_type(folder, TEXT_DETECTORS, "text detector")](folder, device)


def load_network_of(folder: Path) -> PromptedNetwork:
    """Return the networks of a folder that segment what points, boxes and masks show.

    Raises:
        BrokenWeightsError: the folder is of no known model of this kind, transformers is not installed, or the weights
            are broken.
    """
    return load_prompted_network(folder, _known_type(folder, prompted_network.CLASSES, "segmenter"))


def _known_type(folder: Path, known: Iterable[str], what: str) -> str:
    """Return the model type of a folder, which is one of the known ones."""
    found = model_type_of(folder)
    if found not in known:
        raise BrokenWeightsError(
            f"could not load {folder.name}: its model_type {found!r} is not that of a {what}; known: {', '.join(known)}"
        )
    return found
