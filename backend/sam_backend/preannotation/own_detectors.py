"""Detectors in files and folders of the service's own, which may be chosen by their name.

These are the file that `SAM_DETECTOR` names, and the Ultralytics and ONNX files that lie in `SAM_WEIGHTS_DIR`. Text
detectors are folders there, as `save_pretrained` of transformers writes them, or the one of `SAM_TEXT_DETECTOR`. A
request chooses one of these names; it cannot name a path.
"""

from functools import lru_cache
from pathlib import Path

from sam_backend.preannotation.configuration import WITHOUT_DETECTOR
from sam_backend.settings import Settings
from sam_model.registry import DETECTOR_NAMES, TEXT_DETECTOR_NAMES, is_ultralytics_file
from sam_model.transformers_models.model_folder import model_folders
from sam_model.weights.catalog import CATALOG
from sam_model.weights.store import WeightStore

TEXT_MODEL_TYPES = ("sam3", "sam3_video", "mm-grounding-dino", "grounding-dino", "owlv2")  # preferred ones first


def detector_choices(settings: Settings, store: WeightStore) -> tuple[str, ...]:
    """Return the names that a request may use for its detector."""
    known = (*DETECTOR_NAMES, *TEXT_DETECTOR_NAMES)
    own = (*own_detectors(settings, store), *own_text_detectors(store))
    return (*WITHOUT_DETECTOR, *known, *(name for name in own if name not in known))


def own_detectors(settings: Settings, store: WeightStore) -> dict[str, Path]:
    """Return the service's own detectors: file name to path, sorted by name.

    A link in the folder that leads out of it is left out, and so are the files that the catalogue lists.
    """
    folder = store.directory.expanduser().resolve()
    in_catalog = {weights.file for weights in CATALOG}
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in in_catalog and path.resolve().parent == folder and _is_detector(path):
            found[path.name] = path
    named = Path(settings.detector).expanduser() if settings.detector else None
    if named is not None and (named.suffix or named.name != settings.detector) and named.is_file():
        found[named.name] = named.resolve()
    return found


def detector_path(name_or_path: str, settings: Settings, store: WeightStore) -> str:
    """Return the path of one of the service's own detectors; anything else as it is."""
    own = own_detectors(settings, store).get(name_or_path) or own_text_detectors(store).get(name_or_path)
    return str(own or name_or_path)


def own_text_detectors(store: WeightStore) -> dict[str, Path]:
    """Return the text detectors in the folder of weights: folder name to path, preferred ones first.

    A link that leads out of the folder is left out.
    """
    found = [
        (TEXT_MODEL_TYPES.index(kind), path.name, path)
        for kind, path in model_folders(store.directory)
        if kind in TEXT_MODEL_TYPES
    ]
    return {name: path for _, name, path in sorted(found)}


def _is_detector(path: Path) -> bool:
    """Return whether a file is an Ultralytics or ONNX file, and not the weights of a segmenter."""
    if path.suffix not in (".pt", ".onnx") or not path.is_file():
        return False
    state = path.stat()
    return path.suffix == ".onnx" or _is_ultralytics(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1000)
def _is_ultralytics(path: Path, modified_ns: int, size: int) -> bool:  # a replaced file is read again
    return is_ultralytics_file(path)
