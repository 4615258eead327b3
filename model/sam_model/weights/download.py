"""One file over HTTP, in parts if need be: what came before a break need not come again.

Source: RFC 9110, sections 13.1.5 (If-Range) and 14 (Range requests).
"""

import logging
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import urllib3

from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError

logger = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes
ATTEMPTS = 3  # in a row that bring nothing new
FIRST_PAUSE_S = 0.1  # before the second attempt; doubled each time
TIMEOUT = urllib3.Timeout(connect=10, read=30)  # seconds
RETRIES = urllib3.Retry(total=None, connect=0, read=0, redirect=5, status=0, other=0, raise_on_status=False)


@dataclass(frozen=True)
class Progress:
    """How far a download is."""

    file: str
    done: int  # bytes
    total: int  # bytes


OnProgress = Callable[[Progress], None]


def download(
    url: str, part: Path, size: int, on_progress: OnProgress | None = None, proxies: Mapping[str, str] | None = None
) -> None:
    """Bring the file `part` to `size` bytes from `url`, going on where an earlier try stopped.

    The server's mark of its file (ETag or date) is kept beside `part`, so that two versions are never mixed.

    Args:
        url: HTTP or HTTPS.
        part: named as the file it will be, with a suffix after that.
        size: of the whole file, in bytes.
        on_progress: called after every mebibyte.
        proxies: scheme to the URL of its proxy, such as `{"https": "http://proxy:3128"}`.

    Raises:
        WeightsUnavailableError: the server is out of reach, refuses, or breaks off again and again.
        BrokenWeightsError: the server sends more bytes than the file has.
    """
    if _size_of(part) > size:
        part.unlink()
    farthest, failures = _size_of(part), 0
    while _size_of(part) < size:
        try:
            _go_on(url, part, size, on_progress, proxies or {})
        except urllib3.exceptions.HTTPError as error:
            done = _size_of(part)
            failures = failures + 1 if done <= farthest else 1
            farthest = max(done, farthest)
            logger.warning("download of %s stopped at %d of %d bytes: %s", part.stem, done, size, _reason(error))
            if failures == ATTEMPTS:
                raise WeightsUnavailableError(f"{url} cannot be reached or breaks off: {_reason(error)}") from error
            time.sleep(FIRST_PAUSE_S * 2 ** (failures - 1))


def content_length(url: str, proxies: Mapping[str, str] | None = None, timeout: urllib3.Timeout = TIMEOUT) -> int:
    """The number of bytes that the file at `url` has, as its server says.

    Raises:
        WeightsUnavailableError: the server is out of reach, refuses, or does not say.
    """
    headers = {"Accept-Encoding": "identity"}
    try:
        with _pool(url, proxies or {}) as pool:
            answer = pool.request("HEAD", url, headers=headers, timeout=timeout, retries=RETRIES)
    except urllib3.exceptions.HTTPError as error:
        raise WeightsUnavailableError(f"{url} cannot be reached: {_reason(error)}") from error
    length = answer.headers.get("Content-Length", "")
    if answer.status != 200 or not length.isdecimal() or int(length) == 0:
        raise WeightsUnavailableError(f"{url} answers {answer.status}, and does not say how large the file is")
    return int(length)


def _go_on(url: str, part: Path, size: int, on_progress: OnProgress | None, proxies: Mapping[str, str]) -> None:
    """Ask once for what is missing, and take what comes."""
    mark_file = part.with_name(part.name + ".mark")
    done = _size_of(part)
    headers = {"Accept-Encoding": "identity"}  # the bytes themselves: their number and hash are known
    if done:
        headers["Range"] = f"bytes={done}-"
        if mark_file.exists():
            headers["If-Range"] = mark_file.read_text()
    with (
        _pool(url, proxies) as pool,
        closing(
            pool.request("GET", url, headers=headers, preload_content=False, timeout=TIMEOUT, retries=RETRIES)
        ) as r,
    ):
        _check_answer(r, url, part)
        if r.status == 200:  # the whole file: there is another one now, or the server knows no parts
            done = 0
            part.unlink(missing_ok=True)
        mark_file.write_text(_mark(r)) if _mark(r) else mark_file.unlink(missing_ok=True)
        with part.open("ab") as file:
            for chunk in r.stream(CHUNK, decode_content=False):
                done += len(chunk)
                if done > size:
                    raise BrokenWeightsError(f"{url} sends more than the {size} bytes that {part.stem} has")
                file.write(chunk)
                if on_progress:
                    on_progress(Progress(part.stem, done, size))
    if done < size:
        raise urllib3.exceptions.ProtocolError(f"the server ends after {done} of {size} bytes")


def _check_answer(response: urllib3.BaseHTTPResponse, url: str, part: Path) -> None:
    status, span = response.status, response.headers.get("Content-Range", "")
    if status == 416 or (status == 206 and not span.startswith(f"bytes {_size_of(part)}-")):
        part.unlink(missing_ok=True)  # a shorter file than the one this part is of, or not the bytes asked for
        raise urllib3.exceptions.HTTPError(f"the server answers {status} with the range {span!r}")
    if status == 429 or status >= 500:
        raise urllib3.exceptions.HTTPError(f"the server answers {status}")
    if status not in (200, 206):
        raise WeightsUnavailableError(f"{url} answers {status} {response.reason or ''}".rstrip())


def _mark(response: urllib3.BaseHTTPResponse) -> str:
    """What tells this version of the file from others; weak ETags are not allowed in If-Range."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _pool(url: str, proxies: Mapping[str, str]) -> urllib3.PoolManager:
    parts = urllib.parse.urlsplit(url)
    proxy = proxies.get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    """What went wrong, without the connection's own words around it."""
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition(": ")[2] or type(reason).__name__


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
