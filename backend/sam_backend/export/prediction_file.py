"""A file of tasks with predictions that Label Studio imports as it is, and the labeling config that fits it.

Source: label-studio 1.23.2, its import format and tag reference. Masks are brush regions, exact and with every hole.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import quoteattr

import orjson

from sam_backend.protocol.labeling_config import ControlTag, MaskTags
from sam_backend.protocol.predictions import Prediction, ResultJson
from sam_backend.shapes.brush import brush_value
from sam_backend.shapes.regions import region_results
from sam_model.annotation.annotated_image import AddImage, AnnotatedImage
from sam_model.annotation.atomic_file import atomic_file
from sam_model.masks.overlay import mask_colour

IMAGE, MASK = "image", "mask"  # the names of the object tag and of the control tag
MAX_BYTES = 200_000_000  # of a file; Label Studio takes 250 MB (DATA_UPLOAD_MAX_MEMORY_SIZE, core/settings/base.py)
LOCAL_FILES = "/data/local-files/?d="  # how Label Studio serves a file below its LOCAL_FILES_DOCUMENT_ROOT
NEVER_QUOTED = {"s3", "gs", "azure-blob"}  # Label Studio takes what follows for the object's name, as it stands


@contextmanager
def label_studio_file(
    path: Path, class_names: Sequence[str], image_url_prefix: str, model_version: str, most_bytes: int = MAX_BYTES
) -> Iterator[AddImage]:
    """Write a file of tasks, one for each picture that is added; memory holds one task.

    Args:
        path: of the file, which is there when the last picture is in it; `NAME-2.json` and so on follow where the tasks
            are more than Label Studio takes at once.
        class_names: the labels of the labeling config.
        image_url_prefix: what stands before a picture's name in its address.
        model_version: of all predictions.
        most_bytes: of a file, unless one task is larger.
    """
    tags = MaskTags(ControlTag("brushlabels", MASK, (IMAGE,), tuple(class_names)))
    with ExitStack() as stack:  # all files get their names together, at the end
        files = [stack.enter_context(atomic_file(path))]

        def add(image: AnnotatedImage) -> None:
            task = {
                "data": {IMAGE: image_address(image_url_prefix, image.name)},
                "predictions": [prediction(image, tags, model_version).to_json()],
            }
            text = orjson.dumps(task, option=orjson.OPT_SERIALIZE_NUMPY)
            if files[-1].tell() and files[-1].tell() + len(text) > most_bytes:
                files.append(stack.enter_context(atomic_file(_part(path, len(files) + 1))))
            files[-1].write((b",\n" if files[-1].tell() else b"[\n") + text)

        yield add
        for file in files:
            file.write(b"\n]\n" if file.tell() else b"[]\n")
    for number in count(len(files) + 1):  # of an earlier run with more tasks
        try:
            _part(path, number).unlink()
        except FileNotFoundError:
            break


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def prediction(image: AnnotatedImage, tags: MaskTags, model_version: str) -> Prediction:
    """The objects of a picture as a prediction; without objects it has no regions and the score 0."""
    marker = hashlib.sha256(image.name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    results: list[ResultJson] = []
    for number, one in enumerate(image.objects):
        mask = one.mask.mask
        size = (mask.shape[0], mask.shape[1])
        results += region_results(
            brush_value(mask), size, tags, IMAGE, (one.class_name,), f"{marker}-{number}", one.score
        )
    score = sum(one.score for one in image.objects) / max(1, len(image.objects))
    return Prediction(model_version, tuple(results), score)


def image_address(prefix: str, name: str) -> str:
    """The address of a picture, from the prefix and its name; for the web, special characters are written as %XX."""
    safe = name.encode("utf-8", "surrogateescape")
    return prefix + (name if urlsplit(prefix).scheme in NEVER_QUOTED else quote(safe))


def local_files_prefix(root: Path) -> str:
    """The prefix where Label Studio's LOCAL_FILES_DOCUMENT_ROOT is the folder that holds `root`.

    It cannot be `root` itself: a local storage must be a folder below the document root.
    """
    return f"{LOCAL_FILES}{quote(root.name)}/" if root.name else LOCAL_FILES


def labeling_config_for(class_names: Sequence[str]) -> str:
    """A labeling config with these labels: masks, and the smart tools with which the backend makes further ones."""
    labels = "".join(
        f"\n    <Label value={quoteattr(name)} background={quoteattr('#' + bytes(mask_colour(number)).hex())}/>"
        for number, name in enumerate(class_names)
    )
    tags = (
        ("BrushLabels", MASK, 'smart="false"'),
        ("KeyPointLabels", "point", 'smart="true" smartOnly="true"'),
        ("RectangleLabels", "box", 'smart="true" smartOnly="true"'),
    )
    controls = "".join(
        f'\n  <{tag} name="{name}" toName="{IMAGE}" {more}>{labels}\n  </{tag}>' for tag, name, more in tags
    )
    image = f'\n  <Image name="{IMAGE}" value="${IMAGE}" zoom="true" zoomControl="true"/>'
    return f"<View>{image}{controls}\n</View>\n"
