"""The Flask application with a segmenter of the test and images that are generated, not fetched."""

import io
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from sam_backend.embeddings.memory import EmbeddingCache
from sam_backend.errors import ImageNotFoundError
from sam_backend.images.fetch import FetchedImage, ImageFetcher, ImageRequest
from sam_backend.segmenter.choice import ModelChoice
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.service.service import assemble
from sam_backend.settings import MIB, Settings
from sam_backend.web.app import create_app
from sam_model.weights.download import OnProgress
from sam_model.weights.store import store_from_env
from sam_testing.disc_segmenter import DiscSegmenter


def png_image(width: int = 40, height: int = 20) -> bytes:
    """Return a PNG file with a gradient."""
    pixels = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class FakeFetcher:
    """A fetcher that returns given images by address and records the requested addresses."""

    def __init__(self, images: dict[str, bytes]) -> None:
        self.images = images
        self.asked: list[str] = []

    def key(self, asked: ImageRequest) -> str:
        return asked.uri

    def fetch_if_changed(self, asked: ImageRequest, *_: Any) -> FetchedImage:
        return FetchedImage(self.fetch(asked.uri))

    def fetch(self, uri: str, *_: Any) -> bytes:
        self.asked.append(uri)
        if uri not in self.images:
            raise ImageNotFoundError(f"no image at {uri!r}")
        return self.images[uri]


class SamService:
    """A service whose parts a test can reach, and its Flask application."""

    def __init__(
        self,
        settings: Settings | None = None,
        segmenter: DiscSegmenter | None = None,
        load: Callable[[OnProgress], Any] | None = None,
        fetcher: ImageFetcher | None = None,
        cache_bytes: int = MIB,
    ) -> None:
        self.settings = replace(settings or Settings(), max_image_megapixels=1)
        if self.settings.runs_dir is None:  # never the user's own
            folder = tempfile.mkdtemp()
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.settings = replace(self.settings, runs_dir=Path(folder))
        self.segmenter = segmenter or DiscSegmenter()
        self.fake_fetcher = FakeFetcher({"/data/upload/1/image.png": png_image()})
        self.parts = assemble(
            self.settings,
            store_from_env({"SAM_OFFLINE": "1"}),
            model=ModelLoading(ModelChoice("disc", "disc-1", load or (lambda _: self.segmenter))),
            fetcher=fetcher or self.fake_fetcher,  # type: ignore[arg-type]  # it has the methods that are called
            cache=EmbeddingCache(cache_bytes),
        )
        self.model, self.predictor = self.parts.model, self.parts.predictor
        self.app: Flask = create_app(self.parts)
        self.client: FlaskClient = self.app.test_client()

    def predict(self, request: object) -> dict[str, Any]:
        """Send a valid request and return the only prediction of its answer."""
        response = self.client.post("/predict", json=request)
        assert response.status_code == 200, response.text
        (prediction,) = response.get_json()["results"]
        found: dict[str, Any] = prediction
        return found
