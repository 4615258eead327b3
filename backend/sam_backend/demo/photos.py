"""The demo's photographs and the object of the simulated click."""

from dataclasses import dataclass
from pathlib import Path

from sam_model.types import Box

PHOTOS = Path("examples/photos")  # in the checkout, whose folder `make demo` runs in
LABELING_CONFIG = Path("examples/labeling_configs/labels_palette.xml")


class PhotosMissingError(Exception):
    """The folder of photographs does not exist."""


@dataclass(frozen=True)
class Click:
    """The position of the click and the object's expected box, in percent of the image."""

    photo: str
    label: str
    x: float
    y: float
    object_box: Box  # drawn by hand around the object


CLICK = Click("flower.jpg", "Plant", x=40.0, y=35.0, object_box=(26.5, 20.0, 70.0, 83.0))


def photographs() -> list[Path]:
    """The files that the demo imports, by name.

    Raises:
        PhotosMissingError: there are none; they are part of the checkout, not of the installed package.
    """
    files = sorted(PHOTOS.glob("*.jpg"))
    if not files:
        raise PhotosMissingError(f"no photographs in {PHOTOS.absolute()}: run the demo in a checkout of the project")
    return files
