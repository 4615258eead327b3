import numpy as np

from sam_backend.shapes.brush_rle import decode_mask, encode_mask
from sam_model.scripting.segmentation import results_from_masks
from sam_model.types import ScoredMask


def test_a_script_s_result_becomes_brush_regions_with_the_backend_s_encoder() -> None:
    mask = np.zeros((30, 50), dtype=bool)
    mask[5:20, 10:40] = True
    mask[8:12, 15:30] = False
    results = results_from_masks(np.zeros((30, 50, 3), np.uint8), [ScoredMask(mask, 0.5)], (), "mobile_sam")

    (region,) = results.to_label_studio(label="Cat", encode_mask=encode_mask)["result"]

    assert region["type"] == "brushlabels"
    assert region["value"]["format"] == "rle"
    assert np.array_equal(decode_mask(region["value"]["rle"], 30, 50), mask)
