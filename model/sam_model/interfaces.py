"""Interfaces of segmenters and detectors. Models are stateless, so threads may share one."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

from sam_model.types import Detection, Image, Prompt, ScoredMask


class Embedding(Protocol):
    """A segmenter's representation of one image. It is computed once, read by many calls, and never changed."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Return the (height, width) of the original image in pixels."""

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the segmenter that made it; no other segmenter can read it."""

    @property
    def nbytes(self) -> int:
        """Return the memory it takes, in bytes."""


@runtime_checkable
class PreparedEmbedding(Protocol):
    """An embedding that also holds what all prompts of its image share, once that is computed."""

    @property
    def shared_nbytes(self) -> int:
        """Return the memory of what prompts share, in bytes; 0 if it is not computed."""

    def drop_shared(self) -> None:
        """Free that memory; the next prompt computes it again."""


E = TypeVar("E", bound=Embedding)
R = TypeVar("R", bound=Embedding, covariant=True)
C = TypeVar("C", bound=Embedding, contravariant=True)


class Segmenter(Protocol[E]):
    """A promptable segmenter: `embed` turns an image into an embedding, `segment` turns embedding and prompts into
    masks.
    """

    @property
    def name(self) -> str:
        """Return the model's name in the registry, such as `mobile_sam`."""

    @property
    def fingerprint(self) -> str:
        """Return a text that identifies model, weights and settings: equal fingerprints give equal masks."""

    @property
    def uses_mask_input(self) -> bool:
        """Return whether `Prompt.mask_input` changes masks, and answers have `low_res_logits` to give back as it."""

    def embed(self, image: Image) -> E:
        """Compute the embedding of an RGB uint8 image (H, W, 3).

        Raises:
            ValueError: `image` is not RGB uint8.
        """

    def segment(self, embedding: E, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """Return the best mask of each prompt, in the order of the prompts, at the size of the original image.

        Raises:
            ValueError: a prompt is empty or has numbers that are not finite, or the embedding was made by another
                model.
        """


@runtime_checkable
class PreparingSegmenter(Protocol[C]):
    """A segmenter whose prompts share work on the image, which can be done before the first prompt."""

    def prepare(self, embedding: C) -> None:
        """Compute what all prompts of an image share, unless it is there."""


@runtime_checkable
class ReducingSegmenter(Protocol[R]):
    """A segmenter whose embedding of a large image is nearly the same if the image is decoded to a part of its size."""

    def least_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the smallest (height, width) that is enough for an image of `image_size`."""

    def embed_reduced(self, pixels: Image, image_size: tuple[int, int]) -> R:
        """Compute the embedding of an image of `image_size` whose pixels (h, w, 3) were decoded to at most that size.

        Raises:
            ValueError: `pixels` are not RGB uint8.
        """


class Detector(Protocol):
    """A detector of objects with class names. It is stateless, as a segmenter is."""

    @property
    def name(self) -> str:
        """Return the detector's name in the registry, such as `yolov8x`."""

    @property
    def fingerprint(self) -> str:
        """Return a text that identifies model, weights and settings: equal fingerprints give equal detections."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, by class id."""

    def detect(
        self, image: Image, *, score_threshold: float = 0.25, iou_threshold: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        """Detect objects in an RGB uint8 image (H, W, 3); return them highest-scoring first.

        Args:
            image: RGB uint8 (H, W, 3).
            score_threshold: 0..1; detections need a higher score.
            iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            max_detections: maximum number of detections.

        Raises:
            ValueError: `image` is not RGB uint8, or a threshold is outside 0..1.
        """


class TextDetector(Protocol):
    """A detector of objects that a text describes. It is stateless, as a detector is."""

    @property
    def name(self) -> str:
        """Return the detector's name."""

    @property
    def fingerprint(self) -> str:
        """Return a text that identifies model, weights and settings: equal fingerprints give equal detections."""

    def detect_texts(
        self,
        image: Image,
        texts: Sequence[str],
        *,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
    ) -> list[Detection]:
        """Detect the objects that `texts` describe; return them highest-scoring first.

        A detection's class id is an index into `texts`, and its class name is that text.

        Args:
            image: RGB uint8 (H, W, 3).
            texts: descriptions of objects, or their class names.
            score_threshold: 0..1; detections need a higher score.
            iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            max_detections: maximum number of detections.

        Raises:
            ValueError: a text is empty or unknown to the detector, `image` is not RGB uint8, or a threshold is outside
                0..1.
        """
