"""`SAM` and `SAMPredictor`, as in Ultralytics' SAM documentation: its examples run with only the import changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from sam_model.detectors.text import segment_texts
from sam_model.images.reader import ImageSource, read_image
from sam_model.interfaces import TextDetector
from sam_model.registry import load_segmenter, load_text_detector
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
from sam_model.sam.sam import parameter_count
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.predictor import Predictor
from sam_model.scripting.results import Results, results_from_masks
from sam_model.types import Prompt
from sam_model.weights.download import Progress


@dataclass(frozen=True)
class ModelInfo:
    """A model's size, device and precision."""

    name: str
    layers: int  # modules, containers counted
    parameters: int
    nbytes: int  # of the parameters in memory
    device: str
    dtype: str

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.layers} layers, {self.parameters:,} parameters ({self.parameters / 1e6:.1f} M), "
            f"{self.nbytes / 2**20:.1f} MiB, {self.dtype} on {self.device}"
        )


class SAM:
    """A Segment Anything model that segments images by prompts. It keeps no image between calls."""

    def __init__(self, name_or_path: str = "sam_b.pt", device: str = "cpu", dtype: str = "float32") -> None:
        """Load a model.

        Args:
            name_or_path: a name from the catalogue (`mobile_sam`, `sam_b`, `sam_b.pt`, ...), or the path of a
                checkpoint.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
            dtype: `float32`, `bfloat16` or `float16`.

        Raises:
            ValueError: the model, device or precision is unknown, or the model is not a SAM.
            WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
        """
        self.segmenter = load_sam(name_or_path, device, dtype)
        self._text_detectors: dict[str, TextDetector] = {}

    def __call__(
        self,
        source: ImageSource,
        *,
        text: str | Sequence[str] | None = None,
        detector: str = "yolov8x.pt",
        **prompts_and_parameters: Any,
    ) -> Results:
        """Return the mask of each prompt, or all masks of the image if there are no prompts.

        Args:
            source: path of an image file, Pillow image, or array.
            text: descriptions of objects; `detector` finds their boxes, and each box gets a mask.
            detector: a name or path for `load_text_detector`; it is kept for the next call. The default's weights are
                licensed under AGPL-3.0.
            prompts_and_parameters: as for `Predictor`; with `text` only `conf`, the detector's score threshold, and
                `image_format`.

        Raises:
            ValueError: an image, prompt, parameter or text is invalid.
            WeightsError: the detector's weights are missing and cannot be downloaded, or the file is not what it should
                be.
        """
        if text is None:
            return Predictor(self.segmenter)(source, **prompts_and_parameters)
        return self._segment_texts(source, [text] if isinstance(text, str) else text, detector, prompts_and_parameters)

    def _segment_texts(
        self, source: ImageSource, texts: Sequence[str], detector: str, parameters: dict[str, Any]
    ) -> Results:
        unknown = set(parameters) - {"conf", "image_format"}
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: not possible together with text")
        if detector not in self._text_detectors:
            self._text_detectors[detector] = load_text_detector(detector, str(self.segmenter.device))
        image = read_image(source, parameters.get("image_format", "BGR"))
        threshold = parameters.get("conf", 0.25)
        found = segment_texts(self.segmenter, self._text_detectors[detector], image, texts, threshold)
        prompts = [Prompt(box=one.box) for one, _ in found]
        return results_from_masks(image, [mask for _, mask in found], prompts, self.segmenter.name)

    predict = __call__

    def info(self, verbose: bool = True) -> ModelInfo:
        """Return the model's size, device and precision; print them unless `verbose` is False."""
        model = self.segmenter.model
        info = ModelInfo(
            name=self.segmenter.name,
            layers=sum(1 for _ in model.modules()),
            parameters=parameter_count(model),
            nbytes=sum(parameter.nbytes for parameter in model.parameters()),
            device=str(self.segmenter.device),
            dtype=str(self.segmenter.dtype).removeprefix("torch."),
        )
        if verbose:
            print(info)
        return info


class SAMPredictor(Predictor):
    """A `Predictor` configured by the documentation's `overrides`."""

    def __init__(self, overrides: dict[str, Any]) -> None:
        """Load the model that `overrides` names.

        Args:
            overrides: `model` (name or path); optionally `device`, `dtype`, `task="segment"`, `mode="predict"`,
                `imgsz=1024`, and `conf`, the minimum score of a mask when everything is segmented.

        Raises:
            ValueError: `model` is missing, a key is unknown, or a value is not possible with SAM.
        """
        fixed = {"task": "segment", "mode": "predict", "imgsz": 1024}
        for key, value in overrides.items():
            if key in fixed and value != fixed[key]:
                raise ValueError(f"overrides: {key}={value!r} is not possible with SAM; needed: {fixed[key]!r}")
            if key not in {*fixed, "model", "device", "dtype", "conf"}:
                raise ValueError(f"overrides: unknown key {key!r}")
        if "model" not in overrides:
            raise ValueError("overrides: 'model' is missing")
        super().__init__(
            load_sam(overrides["model"], overrides.get("device", "cpu"), overrides.get("dtype", "float32"))
        )
        # the documentation's conf=0.25 is below the default of automatic masks; the higher threshold is used
        self._pred_iou_thresh = max(float(overrides.get("conf", 0.0)), AutomaticMaskSettings.pred_iou_thresh)

    def __call__(self, source: ImageSource | None = None, **prompts_and_parameters: Any) -> Results:
        """Segment an image; see `Predictor`."""
        is_prompted = any(
            prompts_and_parameters.get(name) is not None for name in ("points", "bboxes", "masks", "labels")
        )
        if not is_prompted and not {"pred_iou_thresh", "conf", "conf_thres"} & set(prompts_and_parameters):
            prompts_and_parameters["pred_iou_thresh"] = self._pred_iou_thresh
        return super().__call__(source, **prompts_and_parameters)


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
