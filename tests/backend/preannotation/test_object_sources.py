from types import SimpleNamespace

import numpy as np

from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.label_mapping import ANY_OBJECT, LabelMapping
from sam_backend.preannotation.object_sources import EverythingObjects
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.types import Image
from sam_testing.disc_segmenter import DiscSegmenter

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="label" toName="image"><Label value="Thing"/></BrushLabels></View>"""


class SegmenterThatFindsMasks(DiscSegmenter):
    """Finds masks without prompts, as FastSAM does: one of 12 pixels."""

    find_masks = True

    def embed(self, image: Image) -> SimpleNamespace:
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[2:5, 3:7] = True
        return SimpleNamespace(
            masks=[SimpleNamespace(run_lengths=run_lengths_from_mask(mask), box=(3.0, 2.0, 7.0, 5.0), score=0.9)]
        )


def test_everything_uses_the_segmenters_own_method_behind_the_limit_of_threads() -> None:
    configuration = RunConfiguration(1, detector="everything", label_map={ANY_OBJECT: "Thing"})
    mapping = LabelMapping.of(LabelingConfig.from_xml(CONFIG), (ANY_OBJECT,), configuration)
    image: Image = np.zeros((20, 30, 3), dtype=np.uint8)
    segmenter = LimitedSegmenter(SegmenterThatFindsMasks())

    found = list(EverythingObjects(segmenter, mapping).find(image, lambda: segmenter.embed(image), ()))

    assert [int(each.mask.sum()) for each in found] == [12]
