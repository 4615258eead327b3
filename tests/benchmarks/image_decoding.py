"""Time of decoding typical images of 12 megapixels, by wall clock and by processor time.

A click on a new image waits for the decoder. `--decoder` names modules with a `decode_image`; several are measured in
turns, so that other work on the machine slows all of them. Median of the rounds.
"""

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms

from sam_testing.image_files import ADOBE_RGB, exif, jpeg_with_exif, matrix_profile, saved


def files() -> dict[str, bytes]:
    """Return the files to decode: a smooth image with some noise, 4000 x 3000."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (300, 400, 3), np.uint8)
    image = cv2.resize(small, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    jpeg = saved(image, "JPEG", quality=90)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    adobe = matrix_profile(ADOBE_RGB, 2.2)
    deep = BytesIO()
    tifffile.imwrite(deep, image.astype(np.uint16) * 16, photometric="rgb", compression="zlib")
    rgba = np.dstack([image, np.full(image.shape[:2], 200, np.uint8)])
    return {
        "JPEG": jpeg,
        "JPEG, sRGB profile, turned": jpeg_with_exif(saved(image, "JPEG", quality=90, icc_profile=srgb), exif(6)),
        "JPEG, progressive": saved(image, "JPEG", quality=90, progressive=True),
        "JPEG, Adobe RGB": saved(image, "JPEG", quality=90, icc_profile=adobe),
        "JPEG, CMYK": saved(Image.fromarray(image).convert("CMYK"), "JPEG", quality=90),
        "PNG": saved(image, "PNG", compress_level=1),
        "PNG, RGBA": saved(rgba, "PNG", compress_level=1),
        "WebP": saved(image, "WEBP", quality=85, method=0),
        "TIFF, 16 bits": deep.getvalue(),
    }


def timed(decode: Callable[[bytes], Any], data: bytes) -> tuple[float, float]:
    """Return milliseconds by wall clock and by processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    decode(data)
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


def main() -> None:
    """Print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decoder", action="append", metavar="MODULE")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    names = args.decoder or ["sam_model.images.decode"]
    decoders = {name: importlib.import_module(name).decode_image for name in names}
    rows = []
    for kind, data in files().items():
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for decode in decoders.values():
            decode(data)
        for _ in range(args.rounds):
            for name, decode in decoders.items():
                times[name].append(timed(decode, data))
        for name in names:
            wall, processor = (statistics.median(column) for column in zip(*times[name], strict=True))
            rows.append({"file": kind, "decoder": name, "wall_ms": wall, "processor_ms": processor})
            print(f"{kind:<28} {name:<28} {wall:8.1f} ms {processor:8.1f} ms of processor time")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
