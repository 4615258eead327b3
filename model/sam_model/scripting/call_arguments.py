"""Arguments of a call that Ultralytics' models share: what is printed, shown and written, and what is refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

# arguments of Ultralytics that no model here has, and why
REFUSED = {
    "augment": "test-time augmentation is not supported",
    "batch": "images are predicted one by one",
    "compile": "torch.compile is not used",
    "embed": "embeddings are returned by load_segmenter(...).embed(image)",
    "rect": "images always keep their aspect ratio",
    "save_frames": "frames of a video are saved as images with save=True",
    "stream_buffer": "cameras and streams are not supported",
    "tracker": "objects are not tracked",
    "vid_stride": "every frame of a video is predicted",
    "visualize": "feature maps are not drawn",
}
DEFAULTS: Mapping[str, Any] = {"augment": False, "batch": 1, "rect": True, "vid_stride": 1, "visualize": False}


@dataclass(frozen=True)
class OutputSettings:
    """What a call prints, shows and writes, under Ultralytics' names and with its defaults."""

    verbose: bool = True  # print a line per image
    show: bool = False  # open each plotted image in the system's viewer
    save: bool = False  # write each plotted image
    save_txt: bool = False  # write YOLO labels
    save_conf: bool = False  # with scores
    save_crop: bool = False  # write a crop per object
    show_labels: bool = True  # in plotted images
    show_conf: bool = True
    show_boxes: bool = True
    line_width: float | None = None  # pixels
    project: str | None = None  # folder of the runs, `runs/segment` or `runs/detect` by default
    name: str | None = None  # of the run's folder; `predict`, `predict-2`, ... by default
    exist_ok: bool = False  # write into an existing folder

    @property
    def writes_files(self) -> bool:
        """Return whether anything is written."""
        return self.save or self.save_txt or self.save_crop


def split_arguments(
    given: Mapping[str, Any], model: str, refused: Mapping[str, str], known: Collection[str] = ()
) -> tuple[OutputSettings, dict[str, Any]]:
    """Return the output settings and the other arguments.

    Args:
        given: the arguments of a call.
        model: what the model is, for messages.
        refused: arguments that make no sense for the model, and why.
        known: names of the other arguments; any name if empty.

    Raises:
        ValueError: an argument is refused or unknown.
    """
    names = {field.name for field in fields(OutputSettings)}
    reasons = {**REFUSED, **refused}
    for name, value in given.items():
        if name in reasons and not (name in DEFAULTS and value == DEFAULTS[name]):
            raise ValueError(f"{name}={value!r} is not possible with {model}: {reasons[name]}")
        if known and name not in names and name not in known and name not in reasons:
            raise ValueError(f"unknown argument {name!r} of {model}; known: {', '.join(sorted({*known, *names}))}")
    output = OutputSettings(**{name: value for name, value in given.items() if name in names})
    return output, {name: value for name, value in given.items() if name not in names and name not in reasons}


def check_half(half: bool, device: torch.device, dtype: torch.dtype) -> None:
    """Check that a model has the precision that `half` asks for. As in Ultralytics, it has no effect on a CPU.

    Raises:
        ValueError: the model has another precision.
    """
    if device.type != "cpu" and half != (dtype == torch.float16):
        raise ValueError(f"half={half!r}: the model has {dtype}; choose the precision at loading, as dtype='float16'")


def share(name: str, value: Any) -> float:
    """Return a number in 0..1.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r}; needed: 0..1")
    return float(value)


def image_size(imgsz: Any) -> int | None:
    """Return the length of the longer side of a network's input; None for the network's own.

    Raises:
        ValueError: it is neither a whole number nor two equal ones.
    """
    sides = [imgsz] if isinstance(imgsz, int) or imgsz is None else list(imgsz)
    if len(set(sides)) != 1 or not all(one is None or isinstance(one, int) for one in sides):
        raise ValueError(f"imgsz={imgsz!r}; needed: the length of the longer side, as imgsz=640")
    return sides[0]
