"""Frames of video files, decoded by OpenCV one at a time."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from sam_model.types import Image

VIDEO_SUFFIXES = {".asf", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}


def frame_count(path: Path) -> int | None:
    """Return the number of frames that a video's header states; None if it states none or cannot be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()
    return count if count > 0 else None


def read_frames(path: Path, shown: str | None = None) -> Iterator[Image]:
    """Yield the frames of a video as RGB uint8 (H, W, 3).

    Args:
        path: of the file.
        shown: its name in messages.

    Raises:
        ValueError: no frame can be decoded.
    """
    capture = cv2.VideoCapture(str(path))
    is_empty = True
    try:
        while True:
            is_read, frame = capture.read()
            if not is_read:
                break
            is_empty = False
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        capture.release()
    if is_empty:
        raise ValueError(f"could not read the video {shown or str(path)!r}: OpenCV decodes no frame of it")
