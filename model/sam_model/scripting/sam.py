"""`SAM` and `SAMPredictor`, as in Ultralytics' SAM documentation: its examples run with only the import changed."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sam_model.automatic_segmentation import propose_objects
from sam_model.detectors.text import segment_texts
from sam_model.images.reader import ImageFormat
from sam_model.interfaces import TextDetector
from sam_model.registry import load_segmenter, load_text_detector
from sam_model.runtime.torch_runtime import Device
from sam_model.sam.automatic_masks import edge_map
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.call_arguments import share, split_arguments
from sam_model.scripting.devices import device_name, move_model
from sam_model.scripting.prediction import Stopwatch, predict_images
from sam_model.scripting.predictor import REFUSED, Predictor, check_fixed
from sam_model.scripting.prompt_arrays import Nested
from sam_model.scripting.results import Results
from sam_model.scripting.script_model import ScriptModel, source_or_samples
from sam_model.scripting.segmentation import FoundMask, masks_results, text_results
from sam_model.scripting.sources import Source, SourceImage, open_source, single_image
from sam_model.weights.download import Progress


class SAM(ScriptModel):
    """A Segment Anything model that segments images by prompts. It keeps no image between calls."""

    def __init__(
        self, model: str | os.PathLike[str] = "sam_b.pt", device: Device = None, dtype: str = "float32"
    ) -> None:
        """Load a model.

        Args:
            model: a name from the catalogue (`mobile_sam`, `sam_b`, `sam_b.pt`, ...), or the path of a checkpoint.
            device: `cpu`, `cuda`, `cuda:1`, `0`, `mps`; None for the fastest device of this machine.
            dtype: `float32`, `bfloat16` or `float16`.

        Raises:
            ValueError: the model, device or precision is unknown, or the model is not a SAM.
            WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
        """
        self.segmenter = load_sam(str(model), device_name(device), dtype)
        super().__init__(self.segmenter)
        self._text_detectors: dict[str, TextDetector] = {}

    def __call__(
        self,
        source: Source | None = None,
        stream: bool = False,
        bboxes: Nested | None = None,
        points: Nested | None = None,
        labels: Nested | None = None,
        *,
        text: str | Sequence[str] | None = None,
        detector: str = "yolov8x.pt",
        **arguments: Any,
    ) -> Any:
        """Return the mask of each prompt, or all masks of each image if there are no prompts.

        Args:
            source: path of an image, video or folder, URL, pattern, Pillow image, array, tensor, or a list of these;
                None for this package's sample images.
            stream: return a generator of `Results` instead of a list.
            bboxes: as for `Predictor`, like the other prompts.
            points: point prompts.
            labels: of the points.
            text: descriptions of objects; `detector` finds their boxes, and each box gets a mask.
            detector: a name or path for `load_text_detector`; it is kept for the next call. The default's weights are
                licensed under AGPL-3.0.
            arguments: `masks`, `multimask_output` and all others of `Predictor`; with `text` those of `OutputSettings`,
                and `conf`, the detector's score threshold.

        Raises:
            ValueError: an image, prompt, argument or text is invalid.
            WeightsError: the detector's weights are missing and cannot be downloaded, or the file is not what it should
                be.
        """
        source = source_or_samples(source)
        if text is None:
            return Predictor(self.segmenter)(source, stream, bboxes, points, labels, **arguments)
        if any(one is not None for one in (bboxes, points, labels)):
            raise ValueError("text: not possible together with points or boxes")
        return self._segment_texts(source, stream, [text] if isinstance(text, str) else text, detector, arguments)

    def _segment_texts(
        self, source: Source, stream: bool, texts: Sequence[str], detector: str, arguments: dict[str, Any]
    ) -> Any:
        output, others = split_arguments(arguments, "SAM", REFUSED)
        if "device" in others:
            move_model(self.segmenter, others.pop("device"))
        check_fixed(others, self.segmenter)
        unknown = set(others) - {"conf", "image_format"}
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: not possible together with text")
        if detector not in self._text_detectors:
            self._text_detectors[detector] = load_text_detector(detector, str(self.segmenter.device))
        threshold = share("conf", others.get("conf", 0.25))

        def segment(image: SourceImage) -> Results:
            watch = Stopwatch()
            with watch.stage("preprocess"):
                rgb = np.ascontiguousarray(image.image[..., ::-1])
            with watch.stage("inference"):
                found = segment_texts(self.segmenter, self._text_detectors[detector], rgb, texts, threshold)
            return text_results(image, texts, found, self.segmenter.name, watch)

        return predict_images(
            open_source(source, others.get("image_format", "BGR")), segment, output, "segment", stream
        )

    predict = __call__

    def edges(self, source: Source, image_format: ImageFormat = "BGR") -> NDArray[np.float32]:
        """Return the edge strength of each pixel of an image, (H, W) in 0..1, with thinned edges.

        Source: SAM, arXiv:2304.02643, section 7.2.

        Args:
            source: one image.
            image_format: colour order of an array.

        Raises:
            ValueError: the image cannot be read, or the source has several images.
        """
        image = single_image(source, image_format)
        return edge_map(self.segmenter, np.ascontiguousarray(image.image[..., ::-1]))

    def proposals(self, source: Source, limit: int = 1000, image_format: ImageFormat = "BGR") -> Results:
        """Return the masks of an image that may be objects, highest-scoring first.

        Source: SAM, arXiv:2304.02643, section 7.3: a dense grid of points, and masks that may overlap.

        Args:
            source: one image.
            limit: maximum number of masks.
            image_format: colour order of an array.

        Raises:
            ValueError: the image cannot be read, or the source has several images.
        """
        image, watch = single_image(source, image_format), Stopwatch()
        with watch.stage("inference"):
            found = propose_objects(self.segmenter, np.ascontiguousarray(image.image[..., ::-1]), limit)
        masks = [FoundMask(one.run_lengths, one.box, one.score) for one in found]
        return masks_results(image, masks, (), self.segmenter.name, conf=0.0, watch=watch)


class SAMPredictor(Predictor):
    """A `Predictor` configured by the documentation's `overrides`."""

    def __init__(self, overrides: dict[str, Any]) -> None:
        """Load the model that `overrides` names.

        Args:
            overrides: `model` (name or path); optionally `device`, `dtype`, `task="segment"`, `mode="predict"`, and
                arguments that all calls share, such as `conf`, `imgsz=1024` and `save`.

        Raises:
            ValueError: `model` is missing, a key is unknown, or a value is not possible with SAM.
        """
        given = dict(overrides)
        for key, only in {"task": "segment", "mode": "predict"}.items():
            if given.pop(key, only) != only:
                raise ValueError(f"overrides: {key}={overrides[key]!r} is not possible with SAM; needed: {only!r}")
        if "model" not in given:
            raise ValueError("overrides: 'model' is missing")
        model, device, dtype = given.pop("model"), device_name(given.pop("device", None)), given.pop("dtype", "float32")
        _, others = split_arguments(given, "SAM", REFUSED)
        unknown = set(others) - {"conf", "iou", "imgsz", "half", "retina_masks"}
        if unknown:
            raise ValueError(f"overrides: unknown key {sorted(unknown)[0]!r}")
        super().__init__(load_sam(str(model), device, dtype), given)
        check_fixed(others, self.segmenter)


def load_sam(name_or_path: str, device: str = "cpu", dtype: str = "float32") -> SamSegmenter:
    """Load a SAM by name or path, with a progress bar for its download.

    Raises:
        ValueError: the model is unknown or not a SAM.
        WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
    """
    if str(name_or_path) == "classical":
        raise ValueError('"classical" is not a SAM; use sam_model.load_segmenter("classical")')
    bars: list[tqdm[None]] = []

    def show_download(progress: Progress) -> None:
        if not bars:
            bars.append(tqdm(total=progress.total, desc=str(name_or_path), unit="B", unit_scale=True, disable=None))
        bars[0].update(progress.done - bars[0].n)

    segmenter = load_segmenter(str(name_or_path), device, dtype, on_progress=show_download)
    for bar in bars:
        bar.close()
    if not isinstance(segmenter, SamSegmenter):
        raise ValueError(f"model {name_or_path!r} is not a SAM; use sam_model.load_segmenter")
    return segmenter
