"""Exact borders of a mask: GrabCut in a narrow band, then a guided filter.

GrabCut's initial colour models are computed here. Its own k-means draws random numbers and takes most of the time.

Sources: GrabCut, Rother et al., SIGGRAPH 2004; guided image filtering, He et al., TPAMI 2013; the filter's coefficients
are fitted on few pixels and applied to many, He & Sun, arXiv:1505.00996.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats, k_means

COMPONENTS = 5  # of a colour model, as in cv2.grabCut
SPREAD = 6.0  # minimum standard deviation of a component, in steps of 1/255


def colour_model(colours: Floats, weights: Floats) -> Floats:
    """Return a mixture of Gaussians (1, 65) in cv2.grabCut's layout, for colours (n, 3) with weights (n,)."""
    share = weights / weights.sum()
    group, means = k_means(colours, weights, COMPONENTS)
    mass = np.bincount(group, share, COMPONENTS)
    covariances = np.tile(np.eye(3) * SPREAD**2, (COMPONENTS, 1, 1))
    for k in range(COMPONENTS):
        apart = colours[group == k] - means[k]
        covariances[k] += (apart * share[group == k, None]).T @ apart / max(mass[k], 1e-9)
    return np.asarray(np.concatenate([mass, means.ravel(), covariances.ravel()])[None])


def cut(
    photo: NDArray[np.uint8],
    trimap: NDArray[np.uint8],
    models: tuple[Floats, Floats],
    rounds: int,
) -> NDArray[np.bool_]:
    """Return GrabCut's object (H, W) in a photo (H, W, 3).

    Args:
        photo: 8-bit Lab (H, W, 3).
        trimap: GrabCut's four labels (H, W).
        models: colour models of background and object.
        rounds: number of iterations.
    """
    labels = trimap.copy()
    is_object = (labels & 1) > 0
    if is_object.any() and not is_object.all():
        background, foreground = models[0].copy(), models[1].copy()
        cv2.grabCut(photo, labels, (0, 0, 1, 1), background, foreground, rounds, cv2.GC_EVAL)
    return np.asarray((labels & 1) > 0)


def guided_coefficients(guide: Floats, values: Floats, radius: int, smoothness: float) -> tuple[Floats, Floats]:
    """Return slope and offset (H, W): `slope * guide + offset` is `values`, smoothed except at the edges of `guide`."""
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(image: Floats) -> Floats:
        return np.asarray(cv2.boxFilter(image, cv2.CV_32F, size), np.float32)

    mean_guide, mean_values = mean(guide), mean(values)
    variance = mean(guide * guide) - mean_guide * mean_guide
    slope = (mean(guide * values) - mean_guide * mean_values) / (variance + np.float32(smoothness))
    return mean(slope), mean(mean_values - slope * mean_guide)
