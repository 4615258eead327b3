"""The embedding of an image: found in memory or on disk, or computed and stored. Clicks and runs share this function.

Embeddings are stored by the SHA-256 of the image file's bytes, not by its URL: the file behind a URL may change.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from sam_backend import metrics
from sam_backend.embeddings.disk import EmbeddingFolder
from sam_backend.embeddings.memory import EmbeddingCache
from sam_model.images.decode import ReducedImage
from sam_model.interfaces import Embedding, PreparedEmbedding, PreparingSegmenter, ReducingSegmenter, Segmenter
from sam_model.types import Image

logger = logging.getLogger(__name__)


class ImageEmbeddings:
    """The embeddings of one segmenter. Threads may share it."""

    def __init__(
        self,
        segmenter: Segmenter[Any],
        cache: EmbeddingCache[Any] | None = None,
        folder: EmbeddingFolder | None = None,
    ) -> None:
        """Store embeddings in `cache` and `folder`, where they are given.

        Args:
            segmenter: computes the embeddings; its fingerprint is a part of their keys.
            cache: embeddings in memory, of any segmenters.
            folder: embeddings on disk, of any segmenters; other processes may share it.
        """
        self._segmenter, self._cache, self._folder = segmenter, cache, folder

    def cached(self, digest: str) -> Embedding | None:
        """Return an embedding that is in memory or being computed; None otherwise. Neither disk nor model is used.

        Raises:
            Exception: any error of the computation.
        """
        if self._cache is None:
            return None
        began = time.perf_counter()
        embedding: Embedding | None = self._cache.get(self._key(digest))
        metrics.add_to_request("embed", time.perf_counter() - began)  # more than nothing if another thread computes it
        return embedding

    def is_prepared(self, digest: str) -> bool:
        """Return whether an embedding is in memory with what its prompts share, or being computed."""
        if self._cache is None:
            return False
        kept = self._cache.peek(self._key(digest))
        if kept is None:
            return self._key(digest) in self._cache
        return not isinstance(kept, PreparedEmbedding) or kept.shared_nbytes > 0

    def prepare(self, embedding: Embedding) -> None:
        """Compute what all prompts of an image share, so that the first one does not have to."""
        if isinstance(self._segmenter, PreparingSegmenter):
            self._segmenter.prepare(embedding)
            if self._cache is not None:
                self._cache.fit()

    def _key(self, digest: str) -> str:
        return f"{digest} {self._segmenter.fingerprint}"

    def get(self, digest: str, load_image: Callable[[], Image | ReducedImage], name: str) -> Embedding:
        """Return the embedding of an image: from memory, else from disk, else computed and then stored in both.

        When several threads ask for one image at the same time, one of them computes.

        Args:
            digest: SHA-256 of the image file's bytes, in hexadecimal.
            load_image: returns the image, RGB uint8 (H, W, 3), or what was decoded of it for an embedding; called only
                if the embedding must be computed.
            name: of the task, for the log.

        Raises:
            Exception: any error of `load_image` or the segmenter.
        """
        if self._cache is None:
            return self._read_or_compute(digest, load_image, name)
        embedding: Embedding
        began = time.perf_counter()
        embedding, was_cached = self._cache.get_or_compute(
            self._key(digest), lambda: self._read_or_compute(digest, load_image, name)
        )
        if was_cached:
            metrics.add_to_request("embed", time.perf_counter() - began)
        logger.debug("%s: embedding %s %s", name, digest[:12], "was in memory" if was_cached else "was not in memory")
        return embedding

    def _read_or_compute(self, digest: str, load_image: Callable[[], Image | ReducedImage], name: str) -> Embedding:
        if self._folder is not None:
            stored = self._folder.read(digest, self._segmenter.fingerprint)
            if stored is not None:
                logger.info("%s: embedding read from SAM_EMBEDDINGS_DIR", name)
                return stored
        return self._compute_embedding(digest, load_image, name)

    def _compute_embedding(self, digest: str, load_image: Callable[[], Image | ReducedImage], name: str) -> Embedding:
        start = time.perf_counter()
        image = load_image()
        loaded = time.perf_counter()
        with metrics.stage("embed"):
            embedding: Embedding = self._embed(image)
        if self._folder is not None:
            self._folder.write(digest, embedding)
        logger.info(
            "%s: image %d x %d, decode %.0f ms, embed %.0f ms",
            name,
            embedding.image_size[1],
            embedding.image_size[0],
            1e3 * (loaded - start),
            1e3 * (time.perf_counter() - loaded),
        )
        return embedding

    def _embed(self, image: Image | ReducedImage) -> Any:
        if not isinstance(image, ReducedImage):
            return self._segmenter.embed(image)
        if image.is_whole:
            return self._segmenter.embed(image.pixels)
        assert isinstance(self._segmenter, ReducingSegmenter)  # the others get whole images
        return self._segmenter.embed_reduced(image.pixels, image.image_size)
