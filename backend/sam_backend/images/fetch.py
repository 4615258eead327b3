"""A task's data value -> the bytes of its image file.

Three rules hold for each request of a chain of redirects: its IP address is public or Label Studio's; credentials are
sent only to their own origin, and never again after a redirect to another one; all requests share one time limit.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from sam_backend.errors import (
    ImageError,
    ImageForbiddenError,
    ImageNotFoundError,
    ImageTimeoutError,
    ImageTooLargeError,
    ImageUnavailableError,
)
from sam_backend.images.addresses import Resolver, resolve, resolve_within
from sam_backend.images.connections import Connections, Deadline
from sam_backend.images.sources import (
    bytes_of_data_uri,
    http_url,
    is_login,
    is_task_data,
    shown,
    url_of,
    without_user,
)
from sam_backend.label_studio.credentials import Credential, LabelStudioCredentials, origin_of
from sam_backend.network.ip_addresses import is_link_local, is_public
from sam_backend.settings import MIB, Settings

logger = logging.getLogger(__name__)

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
CHUNK_BYTES = 65536
USER_AGENT = "label-studio-sam"
MAX_VALIDATOR_LENGTH = 1024  # characters; a longer ETag is not sent back
MIN_AGE = timedelta(seconds=2)  # a newer file may change again and keep its Last-Modified and ETag


@dataclass(frozen=True)
class FetchLimits:
    """Limits of time, size and addresses."""

    timeout_s: float = 30.0  # for one image: DNS, redirects and the whole body
    max_bytes: int = 200_000_000  # of one image, after decoding its content encoding
    allow_private_addresses: bool = False  # hosts other than Label Studio on loopback or LAN addresses


def fetch_limits(settings: Settings) -> FetchLimits:
    """Return the limits of the settings."""
    return FetchLimits(
        timeout_s=settings.fetch_timeout_s,
        max_bytes=settings.max_image_mib * MIB,
        allow_private_addresses=settings.allow_private_addresses,
    )


@dataclass(frozen=True)
class ImageCredentials:
    """The task data login and password of a project, for http(s) hosts that are not Label Studio."""

    login: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class ImageRequest:
    """A data value of a task, with everything that decides which file it refers to.

    `login` and `password` are the project's `ImageCredentials`.
    """

    uri: str
    task_id: int | None = None
    project_id: int | None = None
    login: str | None = None
    password: str | None = None

    @property
    def is_inline(self) -> bool:
        """Return whether the data value is a data: URI, which contains the image and never changes."""
        return self.uri[:5].lower() == "data:"


@dataclass(frozen=True)
class Validators:
    """A server's identification of a version of a file (RFC 9110, section 8.8), for conditional requests."""

    location: str  # URL of the file without its query, which differs each time a URL is signed
    etag: str | None
    last_modified: str | None
    length: str | None


@dataclass(frozen=True)
class FetchedImage:
    """The bytes of an image file; `validators` are None if the server sends none that are reliable."""

    data: bytes
    validators: Validators | None = None


@dataclass(frozen=True)
class _Hop:
    """One request of a chain of redirects."""

    url: str
    credentials: str | None  # value of the Authorization header; dropped when the origin changes
    label_studio: Credential | None = None  # source of the header, for requests to Label Studio
    may_renew: bool = False


class Fetcher(Protocol):
    """Fetches images; `ImageFetcher` does."""

    def fetch(
        self,
        uri: str,
        task_id: int | None = None,
        project_id: int | None = None,
        login: str | None = None,
        password: str | None = None,
    ) -> bytes:
        """Return the bytes of the image at `uri`, a data value of a task."""


class ImageFetcher:
    """Fetches images and reuses connections. Threads may share it."""

    def __init__(self, access: LabelStudioCredentials, limits: FetchLimits, *, resolver: Resolver = resolve) -> None:
        self._access = access
        self._limits = limits
        self._resolver = resolver
        self._connections = Connections()

    def fetch(
        self,
        uri: str,
        task_id: int | None = None,
        project_id: int | None = None,
        login: str | None = None,
        password: str | None = None,
    ) -> bytes:
        """Return the bytes of the image at `uri`, a data value of a task.

        `login` and `password` are the project's `ImageCredentials`.

        Raises:
            ImageError: as in `fetch_if_changed`.
        """
        fetched = self.fetch_if_changed(ImageRequest(uri, task_id, project_id, login, password))
        assert fetched is not None  # without `known`, nothing is unchanged
        return fetched.data

    def key(self, request: ImageRequest) -> str:
        """Return a hash of everything that decides which file a request refers to: full URL and credentials.

        A relative or cloud address refers to different files in different Label Studios, projects or storages. Its URL
        is one of Label Studio, with the number of the task or project for which Label Studio resolves the address.

        Raises:
            ImageError: the address cannot be fetched.
        """
        uri = request.uri.strip()
        url = uri if request.is_inline else url_of(uri, self._access.url, request.task_id, request.project_id)
        name = hashlib.sha256(json.dumps([request.login, request.password]).encode())
        name.update(url.encode(errors="surrogatepass"))
        return name.hexdigest()

    def fetch_if_changed(
        self, request: ImageRequest, known: Validators | None = None, timeout_s: float | None = None
    ) -> FetchedImage | None:
        """Return the image; None if it is still the version `known`. `timeout_s` can only lower the settings' limit.

        Raises:
            ImageNotFoundError: the server answers 404.
            ImageForbiddenError: the token is refused, the address is not allowed, or the answer is a web page.
            ImageTooLargeError: the file exceeds the limit of bytes.
            ImageTimeoutError: fetching exceeds the time limit.
            ImageUnavailableError: the host cannot be reached, or reports an internal error.
            BrokenImageError: the data: URI is invalid.
            ImageError: the host gives another answer.
            LabelStudioError: Label Studio does not exchange the personal access token.
        """
        uri = request.uri.strip()
        if request.is_inline:
            return FetchedImage(bytes_of_data_uri(uri, self._limits.max_bytes))
        credential = self._access.credential  # read once: a /setup may replace URL and token
        url = url_of(uri, credential.url if credential else None, request.task_id, request.project_id)
        deadline = Deadline(min(self._limits.timeout_s, timeout_s or self._limits.timeout_s))
        hop = self._first_hop(url, credential, request.login, request.password)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = self._answer(hop, uri, deadline, known)
            except TimeoutError as error:
                raise ImageTimeoutError(
                    f"could not fetch the image {shown(uri)!r}: {urlsplit(hop.url).hostname} has not sent it after "
                    f"{deadline.timeout_s:g} s"
                ) from error
            except OSError as error:
                raise ImageUnavailableError(
                    f"could not fetch the image {shown(uri)!r} from {urlsplit(hop.url).hostname}: {error}"
                ) from error
            if not isinstance(answer, _Hop):
                logger.debug(
                    "fetched %s: %s", shown(uri), "unchanged" if answer is None else f"{len(answer.data)} bytes"
                )
                return answer
            hop = answer
        raise ImageError(f"could not fetch the image {shown(uri)!r}: more than {MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def _first_hop(self, url: str, known: Credential | None, login: str | None, password: str | None) -> _Hop:
        if known is not None and known.is_for(url):
            if not is_task_data(url, known.url):
                return _Hop(without_user(url), None)
            return _Hop(without_user(url), self._access.authorization(known), label_studio=known, may_renew=True)
        parts = urlsplit(url)
        user, secret = unquote(parts.username or ""), unquote(parts.password or "")
        if not (user or secret):
            user, secret = login or "", password or ""
        if not (user or secret):
            return _Hop(url, None)
        return _Hop(without_user(url), f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}")

    def _answer(self, hop: _Hop, uri: str, deadline: Deadline, known: Validators | None) -> FetchedImage | _Hop | None:
        """Send one request; return the image, or the next request after a redirect, or None if it is unchanged."""
        headers = {"User-Agent": USER_AGENT, "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity"}
        if hop.credentials is not None:
            headers["Authorization"] = hop.credentials
        if known is not None and known.location != _location(hop.url):
            known = None  # of another file
        if known is not None:
            headers |= _conditions(known)
        addresses = self._allowed_addresses(hop.url, uri, deadline)
        with self._connections.get(hop.url, addresses, headers, deadline) as response:
            status = response.status
            if status in REDIRECTS and "Location" in response.headers:
                return self._redirected(hop, response.headers["Location"], uri)
            if status == 200 and "html" not in response.headers.get("Content-Type", "").lower():
                validators = _validators(hop.url, response.headers)
                if validators is not None and validators == known:
                    return None  # the server ignores conditional requests
                return FetchedImage(self._body(response, uri), validators)
            if status == 304 and known is not None:
                return None
        if status == 401 and hop.may_renew and hop.credentials is not None:
            renewed = self._access.renewed_authorization(hop.credentials, hop.label_studio)
            if renewed is not None:
                return self._answer(replace(hop, credentials=renewed, may_renew=False), uri, deadline, known)
        raise self._refusal(hop, uri, status)

    def _allowed_addresses(self, url: str, uri: str, deadline: Deadline) -> list[str]:
        _, host, port = origin_of(url)
        try:
            addresses = resolve_within(deadline.remaining_s(), self._resolver, host, port)
        except TimeoutError:
            raise
        except OSError as error:
            raise ImageUnavailableError(
                f"could not fetch the image {shown(uri)!r}: {host!r} has no IP address"
            ) from error
        usable = [address for address in addresses if not is_link_local(address)]
        if not usable:
            raise ImageForbiddenError(
                f"could not fetch the image {shown(uri)!r}: {host!r} is a link-local address, as metadata services of "
                "clouds have; images are never fetched from such addresses"
            )
        if self._limits.allow_private_addresses or self._access.is_own_origin(url):
            return usable
        allowed = [address for address in usable if is_public(address)]
        if not allowed:
            raise ImageForbiddenError(
                f"could not fetch the image {shown(uri)!r}: {host!r} is a private address; set "
                "SAM_ALLOW_PRIVATE_ADDRESSES=true to allow addresses that are neither public nor Label Studio's"
            )
        return allowed

    def _redirected(self, hop: _Hop, location: str, uri: str) -> _Hop:
        try:
            url = http_url(without_user(urljoin(hop.url, location)))
        except ImageError as error:
            raise ImageForbiddenError(
                f"could not fetch the image {shown(uri)!r}: redirected to {shown(location)!r}, not an http(s) URL"
            ) from error
        if self._access.is_own_origin(url) and is_login(url):
            raise self._refusal(hop, uri, 401)
        if origin_of(url) != origin_of(hop.url) or (
            hop.label_studio is not None and not is_task_data(url, hop.label_studio.url)
        ):
            return _Hop(url, None)
        return replace(hop, url=url)

    def _body(self, response: urllib3.HTTPResponse, uri: str) -> bytes:
        """Return the bytes of an answer."""
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > self._limits.max_bytes:
            raise self._too_large(uri)
        return b"".join(self._counted(iter(lambda: response.read(CHUNK_BYTES), b""), uri))

    def _counted(self, chunks: Iterable[bytes], uri: str) -> Iterable[bytes]:
        total = 0
        for chunk in chunks:
            total += len(chunk)
            if total > self._limits.max_bytes:
                raise self._too_large(uri)
            yield chunk

    def _too_large(self, uri: str) -> ImageTooLargeError:
        return ImageTooLargeError(
            f"could not fetch the image {shown(uri)!r}: it has more than {self._limits.max_bytes} bytes"
        )

    def _refusal(self, hop: _Hop, uri: str, status: int) -> ImageError:
        host = urlsplit(hop.url).hostname
        problem = f"could not fetch the image {shown(uri)!r}"
        if status == 404:
            return ImageNotFoundError(f"{problem}: not found, {host} answered 404")
        if status not in (200, 401, 403):
            kind = ImageUnavailableError if status >= 500 or status in (408, 429) else ImageError
            return kind(f"{problem}: {host} answered {status}")
        if hop.label_studio is not None:
            return ImageForbiddenError(f"{problem}: {self._access.explain_refusal(hop.label_studio)}")
        if is_task_data(hop.url, self._access.url) or is_login(hop.url):
            scheme, host, port = origin_of(hop.url)
            return ImageForbiddenError(
                f"{problem}: {host} refused it. The token is sent to LABEL_STUDIO_URL only; set it to "
                f"{scheme}://{host}:{port} if that is Label Studio"
            )
        if status == 200:
            return ImageForbiddenError(f"{problem}: {host} answered with a web page, perhaps its login")
        return ImageForbiddenError(
            f"{problem}: {host} answered {status}; its signature may have expired, or the project's task data "
            "login and password are missing"
        )


def _location(url: str) -> str:
    return url.partition("?")[0]


def _validators(url: str, headers: Mapping[str, str]) -> Validators | None:
    """Return the validators of an answer; None without any, or if the file is too new for them to be reliable."""
    etag, last_modified = headers.get("ETag"), headers.get("Last-Modified")
    if etag is not None and len(etag) > MAX_VALIDATOR_LENGTH:
        etag = None
    if last_modified is not None:
        modified = _date(last_modified)
        answered = _date(headers.get("Date", "")) or datetime.now(UTC)
        if modified is None:
            last_modified = None
        elif answered - modified < MIN_AGE:
            return None  # nginx makes the ETag from seconds and size
    if etag is None and last_modified is None:
        return None
    return Validators(_location(url), etag, last_modified, headers.get("Content-Length"))


def _date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _conditions(known: Validators) -> dict[str, str]:
    given = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in given.items() if value is not None}
