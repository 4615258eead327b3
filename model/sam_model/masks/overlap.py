"""How much two masks of one image overlap."""

import numpy as np

from sam_model.types import Mask


def iou_of_masks(one: Mask, other: Mask) -> float:
    """Return the intersection over union of two masks (H, W); 0 if both are empty."""
    return float(np.count_nonzero(one & other) / max(1, np.count_nonzero(one | other)))


def overlap_share(one: Mask, other: Mask) -> float:
    """Return the share of the smaller of two masks (H, W) that the other one covers; 0 if it is empty."""
    smaller = min(np.count_nonzero(one), np.count_nonzero(other))
    return float(np.count_nonzero(one & other) / max(1, smaller))
