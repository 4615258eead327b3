"""Published quality of the models, each number with its source."""

from dataclasses import dataclass

SAM_2_PAPER = "[arXiv:2408.00714](https://arxiv.org/abs/2408.00714)"
SAM_2_README = "[SAM 2's README](https://github.com/facebookresearch/sam2)"
HQ_SAM_README = "[HQ-SAM's README](https://github.com/SysCV/sam-hq)"
EFFICIENT_TAM_PAPER = "[arXiv:2411.18933](https://arxiv.org/abs/2411.18933)"
EDGE_TAM_PAPER = "[arXiv:2501.07256](https://arxiv.org/abs/2501.07256)"
MM_GROUNDING_DINO_README = (
    "[MM-Grounding-DINO's README](https://github.com/open-mmlab/mmdetection/tree/main/configs/mm_grounding_dino)"
)
LLMDET_README = "[LLMDet's README](https://github.com/iSEE-Laboratory/LLMDet)"
YOLO_README = "[Ultralytics' README](https://github.com/ultralytics/ultralytics)"
ONE_CLICK = "1-click mIoU on SA-23"
COCO_BOX_PROMPTS = "mask AP on COCO with boxes of a detector as prompts"
VIDEO = "J&F on SA-V test (videos)"
COCO_BOXES = "box mAP on COCO"
COCO_BOXES_UNSEEN = "box mAP on COCO, without training on it"
LVIS_BOXES = "box AP on LVIS minival, without training on it"
COCO_MASKS = "mask mAP on COCO"


@dataclass(frozen=True)
class PublishedQuality:
    """One published number."""

    metric: str
    value: float
    source: str


PUBLISHED = {
    "mobile_sam": PublishedQuality(COCO_BOX_PROMPTS, 44.3, HQ_SAM_README),
    "sam_hq_tiny": PublishedQuality(COCO_BOX_PROMPTS, 45.0, HQ_SAM_README),
    "sam_b": PublishedQuality(ONE_CLICK, 55.9, SAM_2_PAPER),
    "sam_h": PublishedQuality(ONE_CLICK, 58.1, EFFICIENT_TAM_PAPER),
    "sam_hq_b": PublishedQuality(ONE_CLICK, 53.9, EFFICIENT_TAM_PAPER),
    "sam_hq_h": PublishedQuality(ONE_CLICK, 59.1, EFFICIENT_TAM_PAPER),
    "efficienttam_s": PublishedQuality(ONE_CLICK, 60.7, EFFICIENT_TAM_PAPER),
    "efficienttam_ti": PublishedQuality(ONE_CLICK, 58.2, EFFICIENT_TAM_PAPER),
    "sam2.1_hiera_base_plus": PublishedQuality(ONE_CLICK, 61.9, SAM_2_PAPER),
    "sam2.1_hiera_tiny": PublishedQuality(VIDEO, 76.5, SAM_2_README),
    "sam2.1_hiera_small": PublishedQuality(VIDEO, 76.6, SAM_2_README),
    "sam2.1_hiera_large": PublishedQuality(VIDEO, 79.5, SAM_2_README),
    "sam2_hiera_tiny": PublishedQuality(VIDEO, 75.0, SAM_2_README),
    "sam2_hiera_small": PublishedQuality(VIDEO, 74.9, SAM_2_README),
    "sam2_hiera_base_plus": PublishedQuality(VIDEO, 74.7, SAM_2_README),
    "sam2_hiera_large": PublishedQuality(VIDEO, 76.0, SAM_2_README),
    "yolov8m": PublishedQuality(COCO_BOXES, 50.2, YOLO_README),
    "yolov8l": PublishedQuality(COCO_BOXES, 52.9, YOLO_README),
    "yolov8x": PublishedQuality(COCO_BOXES, 53.9, YOLO_README),
    "yolov8s": PublishedQuality(COCO_BOXES, 44.9, YOLO_README),
    "yolov8n-seg": PublishedQuality(COCO_MASKS, 30.5, YOLO_README),
    "yolov8s-seg": PublishedQuality(COCO_MASKS, 36.8, YOLO_README),
    "edgetam": PublishedQuality(VIDEO, 71.7, EDGE_TAM_PAPER),
    "mm_grounding_dino_tiny": PublishedQuality(COCO_BOXES_UNSEEN, 50.6, MM_GROUNDING_DINO_README),
    "mm_grounding_dino_base": PublishedQuality(COCO_BOXES, 59.5, MM_GROUNDING_DINO_README),
    "llmdet_tiny": PublishedQuality(LVIS_BOXES, 44.7, LLMDET_README),
    "llmdet_base": PublishedQuality(LVIS_BOXES, 48.3, LLMDET_README),
    "llmdet_large": PublishedQuality(LVIS_BOXES, 51.1, LLMDET_README),
}

# for SAM_MODEL=auto: on a CPU the best one that is fast enough. Models with a number in ONE_CLICK compare by it, those
# with one in COCO_BOX_PROMPTS by that; MobileSAM, which was made from SAM's largest model, follows the former. SAM 2.1
# tiny and small have no number of these kinds, and stand by their number in VIDEO
BEST_FIRST = (
    "sam2.1_hiera_large",
    "sam2.1_hiera_base_plus",
    "sam2.1_hiera_small",
    "sam2.1_hiera_tiny",
    "efficienttam_s",
    "efficienttam_ti",
    "sam_b",
    "sam_hq_tiny",
    "mobile_sam",
)
