"""What the backend and the tools ask of a model; stateless, so that threads may share one."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from sam_model.types import Detection, Image, Prompt, ScoredMask


class Embedding(Protocol):
    """What a segmenter remembers of one image; made once, asked many times, never changed."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the image it was made from, in pixels."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the segmenter that made it; no other may read it."""

    @property
    def nbytes(self) -> int:
        """Memory that it holds, in bytes."""


E = TypeVar("E", bound=Embedding)


class Segmenter(Protocol[E]):
    """A promptable segmenter: an image becomes an embedding, embedding and prompts become masks."""

    @property
    def name(self) -> str:
        """The model's name in the registry, such as `mobile_sam`."""

    @property
    def fingerprint(self) -> str:
        """Names model, weights and settings: equal fingerprints give equal masks."""

    @property
    def uses_mask_input(self) -> bool:
        """Whether `Prompt.mask_input` changes the masks, and answers have `low_res_logits` to give back as it."""

    def embed(self, image: Image) -> E:
        """Look at an RGB uint8 image (H, W, 3) once.

        Raises:
            ValueError: not an RGB uint8 image.
        """

    def segment(self, embedding: E, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """The best mask for each prompt, in the prompts' order, at the original size.

        Raises:
            ValueError: an empty prompt, numbers that are not finite, or the embedding of another model.
        """


class Detector(Protocol):
    """Finds objects with class names; stateless, as a segmenter is."""

    @property
    def name(self) -> str:
        """The detector's name in the registry, such as `yolov8x`."""

    @property
    def fingerprint(self) -> str:
        """Names model, weights and settings: equal fingerprints give equal detections."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What it can find, by class id."""

    def detect(
        self, image: Image, *, score_threshold: float = 0.25, iou_threshold: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        """The objects in an RGB uint8 image (H, W, 3), the surest first; none is no error.

        Raises:
            ValueError: not an RGB uint8 image, or a threshold outside 0..1.
        """


class TextDetector(Protocol):
    """Finds what words describe; stateless, as a detector is."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def fingerprint(self) -> str:
        """Names model, weights and settings: equal fingerprints give equal detections."""

    def detect_texts(
        self,
        image: Image,
        texts: Sequence[str],
        *,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
    ) -> list[Detection]:
        """The objects that `texts` describe, the surest first; class ids and names are places in `texts` and texts.

        Raises:
            ValueError: a text that it cannot be asked for, not an RGB uint8 image, or a threshold outside 0..1.
        """
