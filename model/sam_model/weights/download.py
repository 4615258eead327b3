"""Download of a file over HTTP, resumed after an interruption.

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
ATTEMPTS = 3  # attempts in a row without a new byte
FIRST_PAUSE_S = 0.1  # before the second attempt; doubles with each attempt
TIMEOUT = urllib3.Timeout(connect=10, read=30)  # seconds
LINKED_SIZE = "X-Linked-Size"  # size of the file that Hugging Face redirects to, in bytes
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
RETRIES = urllib3.Retry(
    total=None,
    connect=0,
    read=0,
    redirect=MAX_REDIRECTS,
    status=0,
    other=0,
    raise_on_status=False,
    remove_headers_on_redirect=["Authorization"],  # of another host
)


@dataclass(frozen=True)
class Progress:
    """The progress of a download."""

    file: str
    done: int  # bytes
    total: int  # bytes


OnProgress = Callable[[Progress], None]


def download(
    url: str,
    part: Path,
    size: int,
    on_progress: OnProgress | None = None,
    proxies: Mapping[str, str] | None = None,
    token: str = "",
) -> None:
    """Download `url` to the file `part` until it has `size` bytes; resume if `part` exists.

    The server's validator (ETag or date) is stored beside `part`, so parts of two versions are never mixed.

    Args:
        url: HTTP or HTTPS.
        part: the final file name with one more suffix.
        size: of the whole file, in bytes.
        on_progress: called after every mebibyte.
        proxies: scheme to proxy URL, such as `{"https": "http://proxy:3128"}`.
        token: is sent to the host of `url`, and to no other host that it redirects to.

    Raises:
        WeightsUnavailableError: the server is unreachable, refuses the request, or breaks off repeatedly.
        BrokenWeightsError: the server sends more bytes than `size`.
    """
    if _size_of(part) > size:
        part.unlink()
    farthest, failures = _size_of(part), 0
    while _size_of(part) < size:
        try:
            _resume(url, part, size, on_progress, proxies or {}, token)
        except urllib3.exceptions.HTTPError as error:
            done = _size_of(part)
            failures = failures + 1 if done <= farthest else 1
            farthest = max(done, farthest)
            logger.warning(
                "download of %s interrupted at %d of %d bytes: %s", part.stem, done, size, failure_reason(error)
            )
            if failures == ATTEMPTS:
                raise WeightsUnavailableError(f"could not download {url}: {failure_reason(error)}") from error
            time.sleep(FIRST_PAUSE_S * 2 ** (failures - 1))


def content_length(
    url: str, proxies: Mapping[str, str] | None = None, timeout: urllib3.Timeout = TIMEOUT, token: str = ""
) -> int:
    """Return the size of the file at `url` in bytes, as its server reports it.

    Hugging Face redirects to signed addresses, which may allow GET only; its own answer has the size in
    `X-Linked-Size`.

    Raises:
        WeightsUnavailableError: the server is unreachable, refuses the request, or reports no size.
    """
    try:
        with connection_pool(url, proxies or {}) as pool:
            answer = _head(pool, url, timeout, token)
    except urllib3.exceptions.HTTPError as error:
        raise WeightsUnavailableError(f"could not reach {url}: {failure_reason(error)}") from error
    linked = answer.headers.get(LINKED_SIZE, "") if answer.status in REDIRECTS else ""
    if linked.isdecimal() and int(linked) > 0:
        return int(linked)
    length = answer.headers.get("Content-Length", "")
    if answer.status != 200 or not length.isdecimal() or int(length) == 0:
        raise WeightsUnavailableError(
            f"could not get the size of {url}: the server answered {answer.status}, Content-Length {length!r}",
            answer.status,
        )
    return int(length)


def _head(pool: urllib3.PoolManager, url: str, timeout: urllib3.Timeout, token: str) -> urllib3.BaseHTTPResponse:
    """Return the answer to HEAD after the redirects, or the redirect that has `LINKED_SIZE`."""
    for _ in range(MAX_REDIRECTS):
        answer = pool.request("HEAD", url, headers=_headers(token), timeout=timeout, retries=RETRIES, redirect=False)
        if answer.status not in REDIRECTS or LINKED_SIZE in answer.headers or "Location" not in answer.headers:
            break
        target = urllib.parse.urljoin(url, answer.headers["Location"])
        token = token if urllib.parse.urlsplit(target)[:2] == urllib.parse.urlsplit(url)[:2] else ""
        url = target
    return answer


def _headers(token: str) -> dict[str, str]:
    """Return the headers of each request."""
    headers = {"Accept-Encoding": "identity"}  # no compression: size and hash are those of the file
    return headers | {"Authorization": f"Bearer {token}"} if token else headers


def _resume(
    url: str, part: Path, size: int, on_progress: OnProgress | None, proxies: Mapping[str, str], token: str
) -> None:
    """Request the missing bytes once, and append what arrives."""
    validator_file = part.with_name(part.name + ".validator")
    done = _size_of(part)
    headers = _headers(token)
    if done:
        headers["Range"] = f"bytes={done}-"
        if validator_file.exists():
            headers["If-Range"] = validator_file.read_text()
    with (
        connection_pool(url, proxies) as pool,
        closing(
            pool.request("GET", url, headers=headers, preload_content=False, timeout=TIMEOUT, retries=RETRIES)
        ) as r,
    ):
        _check_answer(r, url, part)
        if r.status == 200:  # the whole file: it has changed, or the server has no range requests
            done = 0
            part.unlink(missing_ok=True)
        validator_file.write_text(_validator(r)) if _validator(r) else validator_file.unlink(missing_ok=True)
        with part.open("ab") as file:
            for chunk in r.stream(CHUNK, decode_content=False):
                done += len(chunk)
                if done > size:
                    raise BrokenWeightsError(f"{url} sends more than {size} bytes, the size of {part.stem}")
                file.write(chunk)
                if on_progress:
                    on_progress(Progress(part.stem, done, size))
    if done < size:
        raise urllib3.exceptions.ProtocolError(f"the response ended after {done} of {size} bytes")


def _check_answer(response: urllib3.BaseHTTPResponse, url: str, part: Path) -> None:
    status, span = response.status, response.headers.get("Content-Range", "")
    if status == 416 or (status == 206 and not span.startswith(f"bytes {_size_of(part)}-")):
        part.unlink(
            missing_ok=True
        )  # the server's file is shorter than the part, or it sent other bytes than requested
        raise urllib3.exceptions.HTTPError(f"the server answered {status} with the range {span!r}")
    if status == 429 or status >= 500:
        raise urllib3.exceptions.HTTPError(f"the server answered {status}")
    if status not in (200, 206):
        raise WeightsUnavailableError(
            f"could not download {url}: the server answered {status} {response.reason or ''}".rstrip(), status
        )


def _validator(response: urllib3.BaseHTTPResponse) -> str:
    """Return the ETag or the date of the file's version; weak ETags are not allowed in If-Range."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def connection_pool(url: str, proxies: Mapping[str, str]) -> urllib3.PoolManager:
    """Return connections to the server of a URL, through the proxy of its scheme if there is one."""
    parts = urllib.parse.urlsplit(url)
    proxy = proxies.get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def failure_reason(error: urllib3.exceptions.HTTPError) -> str:
    """Return the cause of an HTTP error, without the name of the connection object."""
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition(": ")[2] or type(reason).__name__


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
