"""The detector that finds what words describe: which one a project uses."""

from sam_backend.preannotation.configuration import AUTO, WITHOUT_DETECTOR
from sam_backend.preannotation.own_detectors import own_text_detectors
from sam_backend.settings import Settings
from sam_model.weights.store import WeightStore

NO_TEXT_DETECTOR = (
    "no detector finds what words describe: set SAM_TEXT_DETECTOR, or the extra parameter detector to a detector "
    "whose classes are the words"
)


def text_detector_name(detector: str | None, settings: Settings, store: WeightStore) -> str | None:
    """Return the name or path of the detector for words; None if there is none.

    The first of these: `detector`; `SAM_TEXT_DETECTOR`; a folder in `SAM_WEIGHTS_DIR`; `SAM_DETECTOR`.

    Args:
        detector: of the project's extra parameters or of a run, if any.
        settings: of the service.
        store: the weights' folder.
    """
    for name in (detector, settings.text_detector, *own_text_detectors(store), settings.detector):
        if name is not None and name not in (AUTO, *WITHOUT_DETECTOR):
            return name
    return None
