"""One model with PyTorch in float32, with the fastest runtime, and in its authors' code if that is installed."""

import copy
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sam_model.benchmark.alternation import Row, Work, alternated
from sam_model.masks.overlap import iou_of_masks
from sam_model.sam.network import SamNetwork
from sam_model.sam.segmenter import SamSegmenter
from sam_model.types import Image, Point, Prompt

AUTHORS = {  # package, name in its registry
    "mobile_sam": ("mobile_sam", "vit_t"),
    "sam_b": ("segment_anything", "vit_b"),
    "sam_l": ("segment_anything", "vit_l"),
    "sam_h": ("segment_anything", "vit_h"),
}
CONVERSION_TIMEOUT_S = 900.0
POINTS, BOXES = 12, 6  # prompts whose masks are compared


@dataclass(frozen=True)
class RuntimeComparison:
    """The measurements of one model."""

    runtime: str  # the fastest, such as openvino-bfloat16
    has_authors: bool
    rows: dict[str, Row]  # by the work; see `alternated`
    iou: tuple[float, float]  # minimum and mean, of the masks of both runtimes


def compare_runtimes(
    segmenter: SamSegmenter, image: Image, rounds: int, converted_dir: Path, device: str = "auto"
) -> RuntimeComparison:
    """Measure a model on an RGB uint8 image (H, W, 3).

    Args:
        segmenter: the model, with PyTorch in float32.
        image: the input.
        rounds: turns of each program; one if a program takes longer than four seconds.
        converted_dir: folder of the networks that were converted for OpenVINO.
        device: of the fastest runtime.
    """
    fast = SamSegmenter(
        copy.deepcopy(segmenter.model), segmenter.name, device, "auto", runtime="auto", converted_dir=converted_dir
    )
    size = (image.shape[0], image.shape[1])
    prompts = _prompts(size)
    fast.segment(fast.embed(image), prompts)  # starts the conversions
    if fast._converted is not None:
        fast._converted.wait(CONVERSION_TIMEOUT_S)
    predictor = authors_predictor(segmenter.name, segmenter.model)
    rows = {name: alternated(sides, rounds, 1)[0] for name, sides in _works(segmenter, fast, predictor, image).items()}
    ious = [
        iou_of_masks(one.mask, other.mask)
        for one, other in zip(
            segmenter.segment(segmenter.embed(image), prompts), fast.segment(fast.embed(image), prompts), strict=True
        )
    ]
    return RuntimeComparison(str(fast.runtime), predictor is not None, rows, (min(ious), float(np.mean(ious))))


def authors_predictor(name: str, network: SamNetwork) -> Any:
    """Return the predictor of a model's authors with the weights of a network; None if it is not installed."""
    package, registered = AUTHORS.get(name, ("", ""))
    if not package or importlib.util.find_spec(package) is None:
        return None
    module: Any = importlib.import_module(package)
    model = module.sam_model_registry[registered]().eval()
    model.load_state_dict(network.state_dict(), strict=False)
    return module.SamPredictor(model)


def _works(torch: SamSegmenter, fast: SamSegmenter, predictor: Any, image: Image) -> dict[str, dict[str, Work]]:
    """Return the works by name, each with its sides."""
    size = (image.shape[0], image.shape[1])
    point, box = _prompts(size)[0], _prompts(size)[-1]
    if predictor is not None:
        predictor.set_image(image)
    embeddings = [torch.embed(image), fast.embed(image)]

    def sides(authors: Callable[[], Any], ours: list[Callable[[], Any]]) -> dict[str, Work]:
        first: dict[str, Work] = {} if predictor is None else {"authors": authors}
        return first | dict(zip(("torch", "auto"), ours, strict=True))

    def one_point() -> Any:
        (place,) = point.points
        masks, iou, _ = predictor.predict(np.array([(place.x, place.y)]), np.array([1]), multimask_output=True)
        return masks[iou.argmax()]

    def one_box() -> Any:
        return predictor.predict(box=np.array(box.box), multimask_output=False)[0]

    def segment(prompt: Prompt) -> list[Callable[[], Any]]:
        pairs = zip((torch, fast), embeddings, strict=True)
        return [partial(segmenter.segment, embedding, [prompt]) for segmenter, embedding in pairs]

    return {
        "embed": sides(lambda: predictor.set_image(image), [partial(one.embed, image) for one in (torch, fast)]),
        "1 point": sides(one_point, segment(point)),
        "1 box": sides(one_box, segment(box)),
    }


def _prompts(size: tuple[int, int]) -> list[Prompt]:
    """Return points spread over an image, then boxes."""
    height, width = size
    random = np.random.default_rng(0)
    places = random.uniform((0, 0), (width, height), (POINTS, 2)).tolist()
    corners = random.uniform((0, 0), (width / 2, height / 2), (BOXES, 2)).tolist()
    return [
        *(Prompt(points=(Point(x, y),)) for x, y in places),
        *(Prompt(box=(x, y, x + 0.4 * width, y + 0.4 * height)) for x, y in corners),
    ]
