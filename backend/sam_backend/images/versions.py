"""The version of the image at each address: the hash of its bytes, checked again every few seconds.

What lies at an address may be replaced, and one address means different files in different projects. Everything that
is computed from an image is therefore kept by the image's bytes; this module says which bytes an address has now.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from sam_backend.errors import ImageTimeoutError, ImageUnavailableError, LabelStudioError, LabelStudioForbiddenError
from sam_backend.images.fetch import FetchedImage, ImageRequest, Validators
from sam_backend.images.sources import shown

logger = logging.getLogger(__name__)

AT_MOST = 4096  # addresses remembered
CHECK_TIMEOUT_S = 5.0  # for a check of an image that is known; longer where fetching it took longer
MAX_DOUBLINGS = 4  # of the interval between checks, where a check costs the whole image or fails


class ImageFetching(Protocol):
    """Gets images that may have been seen before; `sam_backend.images.fetch.ImageFetcher` does."""

    def key(self, asked: ImageRequest) -> str:
        """A name for all that decides which file `asked` means."""

    def fetch_if_changed(
        self, asked: ImageRequest, known: Validators | None = None, timeout_s: float | None = None
    ) -> FetchedImage | None:
        """The image; None where it is still the version that `known` tells."""


@dataclass(frozen=True)
class ImageVersion:
    """One version of an image: the SHA-256 of its bytes, and the bytes where they had to be fetched."""

    digest: str
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Known:
    digest: str
    validators: Validators | None
    check_at: float
    fetch_s: float  # how long the last complete fetch took
    doublings: int = 0


class ImageVersions:
    """Remembers the versions of the addresses used last. One thread looks at an address, however many ask."""

    def __init__(
        self, fetcher: ImageFetching, check_after_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Check a known image again when its last check is `check_after_s` seconds ago."""
        self._fetcher = fetcher
        self._check_after_s = check_after_s
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._under_way: dict[str, Future[ImageVersion]] = {}
        self._lock = threading.Lock()

    def get(self, asked: ImageRequest, *, with_data: bool = False) -> ImageVersion:
        """Return the version that `asked` has now, with its bytes where they are wanted or had to be fetched.

        A version whose server cannot be reached stays in use; one whose server refuses it does not.

        Raises:
            ImageError: the image is not known and cannot be fetched, or it is gone or refused.
        """
        key = self._fetcher.key(asked)
        while True:
            with self._lock:
                known = self._known.get(key)
                if known is not None:
                    self._known.move_to_end(key)
                    if not with_data and self._clock() < known.check_at:
                        return ImageVersion(known.digest)
                future = self._under_way.get(key)
                if future is None:
                    mine = self._under_way[key] = Future()
                    break
            version = future.result()
            if version.data is not None or not with_data:
                return version
        return self._look(key, asked, None if with_data else known, mine)

    def fresh_digest(self, asked: ImageRequest) -> str | None:
        """The digest of an image that needs no check now; None for any other.

        Raises:
            ImageError: no address that can be fetched.
        """
        key = self._fetcher.key(asked)
        with self._lock:
            known = self._known.get(key)
            return known.digest if known is not None and self._clock() < known.check_at else None

    def _look(self, key: str, asked: ImageRequest, known: _Known | None, future: Future[ImageVersion]) -> ImageVersion:
        try:
            found, version = self._fetched(asked) if known is None else self._checked(asked, known)
            is_same_file = self._fetcher.key(asked) == key  # else Label Studio's address changed meanwhile
        except BaseException as error:
            with self._lock:
                del self._under_way[key]
                self._known.pop(key, None)
            future.set_exception(error)
            raise
        with self._lock:
            del self._under_way[key]
            if is_same_file:
                self._known[key] = found
                self._known.move_to_end(key)
            while len(self._known) > AT_MOST:
                self._known.popitem(last=False)
        future.set_result(version)
        return version

    def _fetched(self, asked: ImageRequest) -> tuple[_Known, ImageVersion]:
        began = self._clock()
        fetched = self._fetcher.fetch_if_changed(asked)
        assert fetched is not None  # nothing is known that could be unchanged
        return self._noted(asked, fetched, began, doublings=0)

    def _checked(self, asked: ImageRequest, known: _Known) -> tuple[_Known, ImageVersion]:
        began = self._clock()
        timeout_s = max(CHECK_TIMEOUT_S, 2 * known.fetch_s) * 2**known.doublings
        doublings = min(known.doublings + 1, MAX_DOUBLINGS)
        try:
            fetched = self._fetcher.fetch_if_changed(asked, known.validators, timeout_s)
        except LabelStudioForbiddenError:
            raise
        except (ImageUnavailableError, ImageTimeoutError, LabelStudioError) as error:
            logger.warning("could not check if the image %r changed: %s; its last version is used", _name(asked), error)
            return self._again_later(known, doublings), ImageVersion(known.digest)
        if fetched is None:
            return self._again_later(known, 0), ImageVersion(known.digest)
        found, version = self._noted(asked, fetched, began, doublings)
        if found.digest != known.digest:
            logger.info("the image %r was replaced", _name(asked))
            found = self._again_later(found, 0)
        return found, version

    def _noted(
        self, asked: ImageRequest, fetched: FetchedImage, began: float, doublings: int
    ) -> tuple[_Known, ImageVersion]:
        digest = hashlib.sha256(fetched.data).hexdigest()
        known = _Known(digest, fetched.validators, 0.0, fetch_s=self._clock() - began)
        known = self._again_later(known, 0 if fetched.validators is not None else doublings)
        if asked.is_inline:
            known = _Known(digest, None, float("inf"), 0.0)
        return known, ImageVersion(digest, fetched.data)

    def _again_later(self, known: _Known, doublings: int) -> _Known:
        pause_s = self._check_after_s * 2**doublings
        return _Known(known.digest, known.validators, self._clock() + pause_s, known.fetch_s, doublings)


def _name(asked: ImageRequest) -> str:
    return shown(asked.uri.strip())
