"""The colours of a file -> sRGB, which the browser shows: ICC profiles, and the gamma of a PNG.

Source: ICC.1:2022 through Little CMS; PNG, third edition, 11.3.2 (cHRM, gAMA, iCCP, sRGB). Which of them counts, and
when, was found by comparing with Chromium 156's pixels.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from sam_model.images.colors import Pixels, three_channels

MAX_PROFILE_BYTES = 4 << 20  # profiles of presses have up to 3 MB
SRGB_GAMMA = 0.45455
NEAR_SRGB = 0.05  # a gamma this close is taken for sRGB's own curve
SRGB_WHITE = (0.3127, 0.3290)
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

Conversion = Callable[[Pixels], Pixels]  # colours (h, W) or (h, W, 3) -> sRGB, grey stays grey where it can


def conversion_to_srgb(mode: str, info: Mapping[Any, Any]) -> Conversion | None:
    """Return what turns the colours of a file with Pillow's `mode` and `info` into sRGB; None for nothing to do."""
    profile = info.get("icc_profile")
    if isinstance(profile, bytes):
        return _by_profile(mode, profile)
    gamma = info.get("gamma")
    if isinstance(gamma, float) and gamma > 0 and "srgb" not in info:
        return _by_gamma(gamma, info.get("chromaticity"))
    return None


def _by_profile(mode: str, profile: bytes) -> Conversion | None:
    """Return None when the profile is sRGB itself, broken, or meant for another kind of image.

    Profiles with multi-process elements are ignored, as Chromium does: Little CMS would evaluate any number of them.
    """
    if len(profile) > MAX_PROFILE_BYTES or b"mpet" in profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space == "GRAY":
            return _by_grey_profile(source)
        if space == "CMYK" and mode == "CMYK":
            # Chromium 156 turns CMYK into RGB first, and that, as inks without black, through the profile.
            return _by_ink_profile(_to_srgb(source, "CMYK"))
        if space == "RGB" and mode != "CMYK":
            transform = _to_srgb(source, "RGB")
            samples = _samples()
            change = np.asarray(transform.apply(Image.fromarray(samples)), np.int16) - samples
            if np.abs(change).max() > 1:  # else it is sRGB, under one of its many names
                return lambda colour: np.asarray(transform.apply(Image.fromarray(three_channels(colour))))
    except (OSError, ImageCms.PyCMSError):
        pass
    return None


def _by_grey_profile(source: ImageCms.ImageCmsProfile) -> Conversion:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    curve = np.array(_to_srgb(source, "L", ImageCms.Flags.NOOPTIMIZE).apply(ramp))[0, :, 0]
    return lambda colour: np.asarray(cv2.LUT(colour, curve), dtype=np.uint8) if colour.ndim == 2 else colour


def _by_ink_profile(transform: ImageCms.ImageCmsTransform) -> Conversion:
    def convert(colour: Pixels) -> Pixels:
        inks = np.concatenate([255 - colour, np.zeros_like(colour[..., :1])], axis=2)
        return np.asarray(transform.apply(Image.frombytes("CMYK", (inks.shape[1], inks.shape[0]), inks.tobytes())))

    return convert


def _to_srgb(
    source: ImageCms.ImageCmsProfile, mode: str, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> ImageCms.ImageCmsTransform:
    target = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.buildTransform(source, target, mode, "RGB", renderingIntent=intent, flags=flags)


def _samples() -> Pixels:
    """Colours from the whole cube, (27, 27, 3)."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)


def _by_gamma(gamma: float, chromaticity: object) -> Conversion | None:
    light = (np.arange(256) / 255) ** (1 / gamma)
    curve = _encoded(light)
    if not (isinstance(chromaticity, tuple) and len(chromaticity) == 8):
        if abs(gamma / SRGB_GAMMA - 1) < NEAR_SRGB:
            return None
        return lambda colour: np.asarray(cv2.LUT(colour, curve), dtype=np.uint8)
    try:
        white, primaries = chromaticity[:2], chromaticity[2:]
        matrix = np.linalg.inv(_rgb_to_xyz(SRGB_PRIMARIES, SRGB_WHITE))
        matrix = matrix @ _adapted(white, SRGB_WHITE) @ _rgb_to_xyz(primaries, white)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return None
    if not np.isfinite(matrix).all():
        return None
    levels = light.astype(np.float32)
    steps = _encoded(np.arange(1 << 16) / 65535)
    to_steps = np.hstack([matrix * 65535, np.full((3, 1), 0.5)])  # half a step, since the conversion truncates
    is_same_space = np.abs(matrix - np.eye(3)).max() < 1e-3

    def convert(colour: Pixels) -> Pixels:
        if colour.ndim == 2 or is_same_space:
            return np.asarray(cv2.LUT(colour, curve), dtype=np.uint8)
        linear = cv2.transform(cv2.LUT(colour, levels), to_steps)
        return steps[np.clip(linear, 0, 65535, out=linear).astype(np.uint16)]

    return convert


def _encoded(linear: NDArray[np.floating]) -> Pixels:
    """Light from 0 to 1, as 8 bits on sRGB's curve. Source: IEC 61966-2-1."""
    light = np.clip(linear, 0, 1)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    pixels: Pixels = np.rint(curved * 255).astype(np.uint8)
    return pixels


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _rgb_to_xyz(primaries: Sequence[float], white: Sequence[float]) -> NDArray[np.float64]:
    matrix = np.stack([_xyz(*primaries[at : at + 2]) for at in (0, 2, 4)], axis=1)
    scaled: NDArray[np.float64] = matrix * np.linalg.solve(matrix, _xyz(*white))
    return scaled


def _adapted(white: Sequence[float], target: Sequence[float]) -> NDArray[np.float64]:
    """From one white to another, after Bradford. Source: ICC.1:2022, annex E."""
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    ratio = (cones @ _xyz(*target)) / (cones @ _xyz(*white))
    adapted: NDArray[np.float64] = np.linalg.inv(cones) @ np.diag(ratio) @ cones
    return adapted
