"""Files of tasks with predictions for Label Studio's import, and the labeling config for them.

Source: label-studio 1.23.2, import format and tag reference. By default masks are brush regions, which are exact.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import quoteattr

import orjson

from sam_backend.protocol.labeling_config import ControlTag
from sam_backend.protocol.predictions import Prediction, ResultJson
from sam_backend.shapes.polygon import DEFAULT_STYLE, PolygonStyle
from sam_backend.shapes.regions import results_from_mask
from sam_backend.shapes.targets import MaskTags, RegionTarget, tag_kind, tag_name
from sam_model.annotation.annotated_image import AddImage, AnnotatedImage
from sam_model.annotation.atomic_file import atomic_file
from sam_model.masks.overlay import mask_colour

IMAGE, MASK = "image", "mask"  # names of the object tag and the control tag
MAX_BYTES = 200_000_000  # of one file; Label Studio accepts 250 MB (DATA_UPLOAD_MAX_MEMORY_SIZE, core/settings/base.py)
LOCAL_FILES = "/data/local-files/?d="  # how Label Studio serves a file below its LOCAL_FILES_DOCUMENT_ROOT
NEVER_QUOTED = {"s3", "gs", "azure-blob"}  # Label Studio reads the rest as the object's name, without unquoting


@contextmanager
def label_studio_file(
    path: Path,
    class_names: Sequence[str],
    image_url_prefix: str,
    model_version: str,
    shape: str = "brush",
    style: PolygonStyle = DEFAULT_STYLE,
    max_bytes: int = MAX_BYTES,
) -> Iterator[AddImage]:
    """Write a file of tasks, one for each image that is added; only one task is in memory at a time.

    Args:
        path: of the file, which appears when it is complete. If the tasks need more than `max_bytes`, further files
            `NAME-2.json` and so on are written.
        class_names: labels of the labeling config.
        image_url_prefix: the part of an image's URL before its name.
        model_version: of all predictions.
        shape: of the regions, one of `SHAPES`.
        style: of polygons and vectors.
        max_bytes: of one file; a file with a single task may be larger.
    """
    tags = MaskTags(ControlTag(f"{tag_kind(shape)}labels", MASK, (IMAGE,), tuple(class_names)))
    target = RegionTarget(shape, tags, IMAGE, ())
    with ExitStack() as stack:  # all files appear together, at the end
        files = [stack.enter_context(atomic_file(path))]

        def add(image: AnnotatedImage) -> None:
            task = {
                "data": {IMAGE: image_url(image_url_prefix, image.name)},
                "predictions": [prediction(image, target, style, model_version).to_json()],
            }
            text = orjson.dumps(task, option=orjson.OPT_SERIALIZE_NUMPY)
            if files[-1].tell() and files[-1].tell() + len(text) > max_bytes:
                files.append(stack.enter_context(atomic_file(_part(path, len(files) + 1))))
            files[-1].write((b",\n" if files[-1].tell() else b"[\n") + text)

        yield add
        for file in files:
            file.write(b"\n]\n" if file.tell() else b"[]\n")
    for number in count(len(files) + 1):  # files of an earlier run with more tasks
        try:
            _part(path, number).unlink()
        except FileNotFoundError:
            break


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def prediction(image: AnnotatedImage, target: RegionTarget, style: PolygonStyle, model_version: str) -> Prediction:
    """Return the objects of an image as a prediction; without objects it has no regions and the score 0."""
    name_hash = hashlib.sha256(image.name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    region_ids = (f"{name_hash}-{number}" for number in count())
    results: list[ResultJson] = []
    for one in image.objects:
        mask, labeled = one.mask.mask, replace(target, labels=(one.class_name,))
        if mask.any():
            results += results_from_mask(mask, labeled, region_ids, one.score, style=style)
    score = sum(one.score for one in image.objects) / max(1, len(image.objects))
    return Prediction(model_version, tuple(results), score)


def image_url(prefix: str, name: str) -> str:
    """Return the URL of an image from prefix and name; special characters are percent-encoded unless in a bucket."""
    safe = name.encode("utf-8", "surrogateescape")
    return prefix + (name if urlsplit(prefix).scheme in NEVER_QUOTED else quote(safe))


def local_files_prefix(root: Path) -> str:
    """Return the prefix of image URLs if Label Studio's LOCAL_FILES_DOCUMENT_ROOT is the parent folder of `root`.

    The document root cannot be `root` itself: a local storage must be a folder below it.
    """
    return f"{LOCAL_FILES}{quote(root.name)}/" if root.name else LOCAL_FILES


def labeling_config_for(class_names: Sequence[str], shape: str = "brush") -> str:
    """Return a labeling config with these labels: a tag for regions of a shape, and smart tools for more of them."""
    region_tag = tag_name(shape).strip("<>")
    rotated = ' sam_output="rotated_rectangle"' if shape == "rotated_rectangle" else ""
    labels = "".join(
        f"\n    <Label value={quoteattr(name)} background={quoteattr('#' + bytes(mask_colour(number)).hex())}/>"
        for number, name in enumerate(class_names)
    )
    tags = (
        (region_tag, MASK, f'smart="false"{rotated}'),
        ("KeyPointLabels", "point", 'smart="true" smartOnly="true"'),
        ("RectangleLabels", "box", 'smart="true" smartOnly="true"'),
    )
    controls = "".join(
        f'\n  <{tag} name="{name}" toName="{IMAGE}" {more}>{labels}\n  </{tag}>' for tag, name, more in tags
    )
    image = f'\n  <Image name="{IMAGE}" value="${IMAGE}" zoom="true" zoomControl="true"/>'
    return f"<View>{image}{controls}\n</View>\n"
