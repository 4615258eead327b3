"""The current version of the image at each address: the hash of its bytes, checked again every few seconds.

The file at an address may be replaced, and one address refers to different files in different projects. So everything
that is computed from an image is stored by the hash of its bytes, and this module maps addresses to hashes.
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

MAX_ADDRESSES = 4096
CHECK_TIMEOUT_S = 5.0  # for a check of a known image; twice its fetch time if that is longer
MAX_DOUBLINGS = 4  # of the interval between checks, if a check fails or transfers the whole image


class ImageFetching(Protocol):
    """Fetches images, unless they are unchanged; `sam_backend.images.fetch.ImageFetcher` does."""

    def key(self, request: ImageRequest) -> str:
        """Return a hash of everything that decides which file a request refers to."""

    def fetch_if_changed(
        self, request: ImageRequest, known: Validators | None = None, timeout_s: float | None = None
    ) -> FetchedImage | None:
        """Return the image; None if it is still the version `known`."""


@dataclass(frozen=True)
class ImageVersion:
    """One version of an image: the SHA-256 of its bytes, and the bytes if they were fetched."""

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
    """Remembers the versions of the most recently used addresses. One thread at a time fetches or checks an address."""

    def __init__(
        self, fetcher: ImageFetching, check_after_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Check a known image again `check_after_s` seconds after its last check."""
        self._fetcher = fetcher
        self._check_after_s = check_after_s
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._running: dict[str, Future[ImageVersion]] = {}
        self._lock = threading.Lock()

    def get(self, request: ImageRequest, *, with_data: bool = False) -> ImageVersion:
        """Return the current version of an image, with its bytes if `with_data` or if they were fetched.

        If the server cannot be reached, the known version stays in use; if it refuses the request, it does not.

        Raises:
            ImageError: the image is not known and cannot be fetched, or the server refuses it.
        """
        key = self._fetcher.key(request)
        while True:
            with self._lock:
                known = self._known.get(key)
                if known is not None:
                    self._known.move_to_end(key)
                    if not with_data and self._clock() < known.check_at:
                        return ImageVersion(known.digest)
                future = self._running.get(key)
                if future is None:
                    own_future = self._running[key] = Future()
                    break
            version = future.result()
            if version.data is not None or not with_data:
                return version
        return self._fetch_or_check(key, request, None if with_data else known, own_future)

    def fresh_digest(self, request: ImageRequest) -> str | None:
        """Return the digest of an image that needs no check now; None for other images.

        Raises:
            ImageError: the address cannot be fetched.
        """
        key = self._fetcher.key(request)
        with self._lock:
            known = self._known.get(key)
            return known.digest if known is not None and self._clock() < known.check_at else None

    def last_digest(self, request: ImageRequest) -> str | None:
        """Return the digest of the version that was seen last, which may be old; None if there was none.

        Raises:
            ImageError: the address cannot be fetched.
        """
        key = self._fetcher.key(request)
        with self._lock:
            known = self._known.get(key)
            return None if known is None else known.digest

    def _fetch_or_check(
        self, key: str, request: ImageRequest, known: _Known | None, future: Future[ImageVersion]
    ) -> ImageVersion:
        try:
            found, version = self._fetched(request) if known is None else self._checked(request, known)
            is_same_file = self._fetcher.key(request) == key  # else Label Studio's URL has changed meanwhile
        except BaseException as error:
            with self._lock:
                del self._running[key]
                self._known.pop(key, None)
            future.set_exception(error)
            raise
        with self._lock:
            del self._running[key]
            if is_same_file:
                self._known[key] = found
                self._known.move_to_end(key)
            while len(self._known) > MAX_ADDRESSES:
                self._known.popitem(last=False)
        future.set_result(version)
        return version

    def _fetched(self, request: ImageRequest) -> tuple[_Known, ImageVersion]:
        start = self._clock()
        fetched = self._fetcher.fetch_if_changed(request)
        assert fetched is not None  # without `known`, nothing is unchanged
        return self._version_of(request, fetched, start, doublings=0)

    def _checked(self, request: ImageRequest, known: _Known) -> tuple[_Known, ImageVersion]:
        start = self._clock()
        timeout_s = max(CHECK_TIMEOUT_S, 2 * known.fetch_s) * 2**known.doublings
        doublings = min(known.doublings + 1, MAX_DOUBLINGS)
        try:
            fetched = self._fetcher.fetch_if_changed(request, known.validators, timeout_s)
        except LabelStudioForbiddenError:
            raise
        except (ImageUnavailableError, ImageTimeoutError, LabelStudioError) as error:
            logger.warning("could not check if the image %r changed: %s; using its last version", _name(request), error)
            return self._with_next_check(known, doublings), ImageVersion(known.digest)
        if fetched is None:
            return self._with_next_check(known, 0), ImageVersion(known.digest)
        found, version = self._version_of(request, fetched, start, doublings)
        if found.digest != known.digest:
            logger.info("image %r was replaced", _name(request))
            found = self._with_next_check(found, 0)
        return found, version

    def _version_of(
        self, request: ImageRequest, fetched: FetchedImage, start: float, doublings: int
    ) -> tuple[_Known, ImageVersion]:
        digest = hashlib.sha256(fetched.data).hexdigest()
        known = _Known(digest, fetched.validators, 0.0, fetch_s=self._clock() - start)
        known = self._with_next_check(known, 0 if fetched.validators is not None else doublings)
        if request.is_inline:
            known = _Known(digest, None, float("inf"), 0.0)
        return known, ImageVersion(digest, fetched.data)

    def _with_next_check(self, known: _Known, doublings: int) -> _Known:
        pause_s = self._check_after_s * 2**doublings
        return _Known(known.digest, known.validators, self._clock() + pause_s, known.fetch_s, doublings)


def _name(request: ImageRequest) -> str:
    return shown(request.uri.strip())
