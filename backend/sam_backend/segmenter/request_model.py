"""The model of one request: chosen when the request begins, so that a switch meanwhile does not change it."""

from typing import Any

from sam_backend.errors import ModelNotReadyError
from sam_backend.segmenter.loading import ModelLoading
from sam_model.interfaces import Segmenter


class RequestModel:
    """The wanted model, or the default one where the wanted one cannot answer. One request, one thread."""

    def __init__(self, wanted: ModelLoading, default: ModelLoading, wait_s: float) -> None:
        """Take the models as they are now.

        Args:
            wanted: by the project; the default model for most projects.
            default: answers while the weights of `wanted` are downloaded, if it is not loaded within `wait_s`, and if
                it cannot be loaded.
            wait_s: time for a model that is loading, in seconds.
        """
        self._wanted, self._default, self._wait_s = wanted, default, wait_s
        self._answering: ModelLoading | None = None
        self.note: str | None = None  # why the default model answers

    @property
    def name(self) -> str:
        """Return the name of the model that answers."""
        return (self._answering or self._wanted).name

    @property
    def version(self) -> str:
        """Return the version of the model that answers."""
        return (self._answering or self._wanted).version

    def ready_segmenter(self) -> Segmenter[Any] | None:
        """Return the segmenter if it is there without waiting; None otherwise."""
        self._wanted.start()
        return (self._answering or self._wanted).ready_segmenter

    def segmenter(self) -> Segmenter[Any]:
        """Return the segmenter, after waiting for it; always the same one.

        Raises:
            ModelNotReadyError: the default model is still being loaded, or could not be loaded.
        """
        if self._answering is None:
            self._answering = self._chosen()
        return self._answering.segmenter(self._wait_s)

    def _chosen(self) -> ModelLoading:
        if self._wanted is self._default:
            return self._default
        self._wanted.start()
        if self._wanted.download is not None:
            reason = f"model {self._wanted.name} is being downloaded: {self._wanted.progress}"
        else:
            try:
                self._wanted.segmenter(self._wait_s)
                return self._wanted
            except ModelNotReadyError as error:
                reason = str(error)
        self.note = f"{reason}; {self._default.name} answered"
        return self._default
