"""The engines that describe regions, and the choice among them."""

import logging
from pathlib import Path
from typing import Any

from sam_backend.errors import BadRequestError
from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_backend.settings import Settings
from sam_model.exemplars.classical_descriptor import ClassicalDescriber
from sam_model.exemplars.descriptors import Describer, SamDescriber
from sam_model.exemplars.owl_descriptor import OwlDescriber
from sam_model.interfaces import Segmenter
from sam_model.transformers_models.model_folder import model_folders
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)

ENGINES = ("auto", "owlv2", "sam", "classical")


def unlimited(segmenter: Segmenter[Any]) -> Segmenter[Any]:
    """Return the segmenter without its limit of threads: SAM and FastSAM have methods of their own."""
    return segmenter.unlimited if isinstance(segmenter, LimitedSegmenter) else segmenter


def load_describer(name: str, segmenter: Segmenter[Any], settings: Settings, store: WeightStore) -> Describer:
    """Return the engine `name`, one of `ENGINES`; `auto` is the first of OWLv2, SAM and classical that is installed.

    Args:
        name: of the engine.
        segmenter: of the run; the engine `sam` describes its embeddings.
        settings: of the service.
        store: the weights' folder, which may have a folder with an OWLv2.

    Raises:
        BadRequestError: the engine is not installed.
        WeightsError: OWLv2's weights are damaged.
    """
    if name in ("auto", "owlv2"):
        folder = next((path for kind, path in model_folders(store.directory) if kind == "owlv2"), None)
        if folder is not None:
            try:
                return _load_owl(folder, settings)
            except WeightsError as error:
                if name == "owlv2":
                    raise
                logger.warning("could not load %s: %s; falling back to another engine", folder.name, error)
        elif name == "owlv2":
            raise BadRequestError("descriptor='owlv2' needs a folder with an OWLv2 in SAM_WEIGHTS_DIR")
    if name in ("auto", "sam"):
        if hasattr(unlimited(segmenter), "model"):  # only a SAM has a model
            return SamDescriber(segmenter.fingerprint)
        if name == "sam":
            raise BadRequestError(f"descriptor='sam' needs a SAM as the run's model; it is {segmenter.name}")
    return ClassicalDescriber()


def _load_owl(folder: Path, settings: Settings) -> Describer:
    from sam_model.transformers_models.owl import OwlDetector  # imports PyTorch

    return OwlDescriber(OwlDetector(folder, settings.device))
