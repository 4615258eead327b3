"""Images and videos from HTTP(S) URLs, with limits of size and time."""

import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import urllib3

from sam_model.weights.download import CHUNK, RETRIES, TIMEOUT, connection_pool, failure_reason

MAX_IMAGE_BYTES = 200 << 20
MAX_VIDEO_BYTES = 4 << 30
MAX_IMAGE_S, MAX_VIDEO_S = 120, 3600  # for the whole file


def shown_url(url: str) -> str:
    """Return a URL without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def read_url(url: str) -> bytes:
    """Return the file at a URL.

    Raises:
        ValueError: the server cannot be reached or refuses the request, or the file is too large.
    """
    return b"".join(_chunks(url, MAX_IMAGE_BYTES, MAX_IMAGE_S))


@contextmanager
def downloaded_video(url: str) -> Iterator[Path]:
    """Return the path of a temporary file with the video at a URL; it is deleted at the end of the context.

    Raises:
        ValueError: as `read_url`.
    """
    with tempfile.TemporaryDirectory(prefix="label-studio-sam-") as folder:
        path = Path(folder) / f"video{Path(urlsplit(url).path).suffix}"
        with path.open("wb") as file:
            for chunk in _chunks(url, MAX_VIDEO_BYTES, MAX_VIDEO_S):
                file.write(chunk)
        yield path


def _chunks(url: str, max_bytes: int, max_s: float) -> Iterator[bytes]:
    shown, received, deadline = shown_url(url), 0, time.monotonic() + max_s
    try:
        with (
            connection_pool(url, urllib.request.getproxies()) as pool,
            closing(pool.request("GET", url, preload_content=False, timeout=TIMEOUT, retries=RETRIES)) as response,
        ):
            if response.status != 200:
                reason = f"the server answered {response.status} {response.reason or ''}".rstrip()
                raise ValueError(f"could not read {shown!r}: {reason}")
            for chunk in response.stream(CHUNK):
                received += len(chunk)
                if received > max_bytes:
                    raise ValueError(f"could not read {shown!r}: more than {max_bytes >> 20} MiB")
                if time.monotonic() > deadline:
                    raise ValueError(f"could not read {shown!r}: not complete after {max_s:g} s")
                yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise ValueError(f"could not read {shown!r}: {failure_reason(error)}") from error
