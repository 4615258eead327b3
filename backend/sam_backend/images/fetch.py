"""A task's data value -> the bytes of its picture.

Three rules hold on every hop of a redirect: the address must be public or Label Studio's own; credentials go to
the origin they are meant for, and never come back once a redirect has left it; all hops share one time limit.
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
LONGEST_VALIDATOR = 1024  # characters; a longer ETag is not sent back
SAME_SECOND = timedelta(seconds=2)  # a file this new may change again without another Last-Modified or ETag


@dataclass(frozen=True)
class FetchLimits:
    """How long, how much and from where."""

    timeout_s: float = 30.0  # for one image: DNS, redirects and the whole body
    max_bytes: int = 200_000_000  # of one image, after its content encoding is undone
    allow_private_addresses: bool = False  # hosts other than Label Studio on loopback or LAN addresses


def fetch_limits(settings: Settings) -> FetchLimits:
    """The limits that the settings give."""
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
    """A data value of a task, and all else that decides which file it means.

    `login` and `password` are the project's task data credentials, for http(s) hosts that are not Label Studio.
    """

    uri: str
    task_id: int | None = None
    project_id: int | None = None
    login: str | None = None
    password: str | None = None

    @property
    def is_inline(self) -> bool:
        """Whether the data value holds the image itself, which then can never change."""
        return self.uri[:5].lower() == "data:"


@dataclass(frozen=True)
class Validators:
    """What a server says of the version of a file (RFC 9110, section 8.8); sent back, they ask if it changed."""

    location: str  # URL of the file without its query, which differs each time an address is signed
    etag: str | None
    last_modified: str | None
    length: str | None


@dataclass(frozen=True)
class FetchedImage:
    """The bytes of an image; `validators` are None where the server gives none that can be relied on."""

    data: bytes
    validators: Validators | None = None


@dataclass(frozen=True)
class _Hop:
    """One request on the way to the picture."""

    url: str
    credentials: str | None  # value of the Authorization header; dropped for good when the origin changes
    label_studio: Credential | None = None  # that the header was made of, where it goes to Label Studio
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
    """Fetches pictures; keeps its connections. Safe to share between threads."""

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
        """The bytes behind a data value of a task.

        `login` and `password` are the project's task data credentials, for http(s) hosts that are not Label
        Studio.

        Raises:
            ImageError: as `fetch_if_changed` does.
        """
        fetched = self.fetch_if_changed(ImageRequest(uri, task_id, project_id, login, password))
        assert fetched is not None  # nothing is known that could be unchanged
        return fetched.data

    def key(self, asked: ImageRequest) -> str:
        """A name for all that decides which file `asked` means: the full URL and the credentials, as a hash.

        A relative or cloud address means another file in another Label Studio, project or storage: its URL is Label
        Studio's, with the task's or project's number where Label Studio resolves it for one of them.

        Raises:
            ImageError: no address that can be fetched.
        """
        uri = asked.uri.strip()
        url = uri if asked.is_inline else url_of(uri, self._access.url, asked.task_id, asked.project_id)
        name = hashlib.sha256(json.dumps([asked.login, asked.password]).encode())
        name.update(url.encode(errors="surrogatepass"))
        return name.hexdigest()

    def fetch_if_changed(
        self, asked: ImageRequest, known: Validators | None = None, timeout_s: float | None = None
    ) -> FetchedImage | None:
        """The image; None where the server says that it is still the version that `known` tells.

        `timeout_s` may only shorten the limit of the settings.

        Raises:
            ImageNotFoundError: it is not there.
            ImageForbiddenError: a refused token, a private address, another scheme, a login page.
            ImageTooLargeError: more bytes than the limit.
            ImageTimeoutError: more time than the limit.
            ImageUnavailableError: the host cannot be reached, or has a failure of its own.
            BrokenImageError: a data: URI that is none.
            ImageError: the host answers with something else.
            LabelStudioError: Label Studio does not exchange the personal access token.
        """
        uri = asked.uri.strip()
        if asked.is_inline:
            return FetchedImage(bytes_of_data_uri(uri, self._limits.max_bytes))
        credential = self._access.credential  # one value: its token goes to its URL, whatever a /setup brings meanwhile
        url = url_of(uri, credential.url if credential else None, asked.task_id, asked.project_id)
        deadline = Deadline(min(self._limits.timeout_s, timeout_s or self._limits.timeout_s))
        hop = self._first_hop(url, credential, asked.login, asked.password)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = self._walk(hop, uri, deadline, known)
            except TimeoutError as error:
                raise ImageTimeoutError(
                    f"the image {shown(uri)!r} was not here after {deadline.timeout_s:g} s, "
                    f"from {urlsplit(hop.url).hostname}"
                ) from error
            except OSError as error:
                raise ImageUnavailableError(
                    f"the image {shown(uri)!r} cannot be fetched from {urlsplit(hop.url).hostname}: {error}"
                ) from error
            if not isinstance(answer, _Hop):
                logger.debug(
                    "fetched %s: %s", shown(uri), "unchanged" if answer is None else f"{len(answer.data)} bytes"
                )
                return answer
            hop = answer
        raise ImageError(f"the image {shown(uri)!r} is behind more than {MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """Close the connections that are kept."""
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

    def _walk(self, hop: _Hop, uri: str, deadline: Deadline, known: Validators | None) -> FetchedImage | _Hop | None:
        """The image, or the next hop to it; None where it is unchanged."""
        headers = {"User-Agent": USER_AGENT, "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity"}
        if hop.credentials is not None:
            headers["Authorization"] = hop.credentials
        if known is not None and known.location != _location(hop.url):
            known = None  # another file's
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
                    return None  # from a server that knows no conditional requests
                return FetchedImage(self._body(response, uri), validators)
            if status == 304 and known is not None:
                return None
        if status == 401 and hop.may_renew and hop.credentials is not None:
            renewed = self._access.renewed_authorization(hop.credentials, hop.label_studio)
            if renewed is not None:
                return self._walk(replace(hop, credentials=renewed, may_renew=False), uri, deadline, known)
        raise self._refusal(hop, uri, status)

    def _allowed_addresses(self, url: str, uri: str, deadline: Deadline) -> list[str]:
        _, host, port = origin_of(url)
        try:
            addresses = resolve_within(deadline.remaining_s(), self._resolver, host, port)
        except TimeoutError:
            raise
        except OSError as error:
            raise ImageUnavailableError(f"the image {shown(uri)!r} is on {host!r}, which has no address") from error
        usable = [address for address in addresses if not is_link_local(address)]
        if not usable:
            raise ImageForbiddenError(
                f"the image {shown(uri)!r} is on {host!r}, a link-local address, where clouds keep their metadata "
                "services; images are never fetched from there"
            )
        if self._limits.allow_private_addresses or self._access.is_own_origin(url):
            return usable
        allowed = [address for address in usable if is_public(address)]
        if not allowed:
            raise ImageForbiddenError(
                f"the image {shown(uri)!r} is on {host!r}, a private address; images are fetched from public "
                "addresses and from Label Studio itself, unless SAM_ALLOW_PRIVATE_ADDRESSES=true"
            )
        return allowed

    def _redirected(self, hop: _Hop, location: str, uri: str) -> _Hop:
        try:
            url = http_url(without_user(urljoin(hop.url, location)))
        except ImageError as error:
            raise ImageForbiddenError(
                f"the image {shown(uri)!r} redirects to {shown(location)!r}, which is no http(s) address"
            ) from error
        if self._access.is_own_origin(url) and is_login(url):
            raise self._refusal(hop, uri, 401)
        if origin_of(url) != origin_of(hop.url) or (
            hop.label_studio is not None and not is_task_data(url, hop.label_studio.url)
        ):
            return _Hop(url, None)
        return replace(hop, url=url)

    def _body(self, response: urllib3.HTTPResponse, uri: str) -> bytes:
        """All bytes of an answer, as long as they are not too many."""
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
        return ImageTooLargeError(f"the image {shown(uri)!r} has more than {self._limits.max_bytes} bytes")

    def _refusal(self, hop: _Hop, uri: str, status: int) -> ImageError:
        host = urlsplit(hop.url).hostname
        refused = f"the image {shown(uri)!r} was refused"
        if status == 404:
            return ImageNotFoundError(f"the image {shown(uri)!r} is not there: {host} answered 404")
        if status not in (200, 401, 403):
            kind = ImageUnavailableError if status >= 500 or status in (408, 429) else ImageError
            return kind(f"the image {shown(uri)!r} cannot be fetched: {host} answered {status}")
        if hop.label_studio is not None:
            return ImageForbiddenError(f"{refused}: {self._access.explain_refusal(hop.label_studio)}")
        if is_task_data(hop.url, self._access.url) or is_login(hop.url):
            scheme, host, port = origin_of(hop.url)
            return ImageForbiddenError(
                f"{refused}: is Label Studio at {scheme}://{host}:{port}? The token goes to LABEL_STUDIO_URL only"
            )
        if status == 200:
            return ImageForbiddenError(f"{refused}: {host} answered with a web page, a login perhaps")
        return ImageForbiddenError(
            f"{refused}: {host} answered {status}; its signature may have run out, or the project's task data "
            "login and password are missing"
        )


def _location(url: str) -> str:
    return url.partition("?")[0]


def _validators(url: str, headers: Mapping[str, str]) -> Validators | None:
    """The validators of an answer; None where there are none, or the file changed too lately for them to tell."""
    etag, last_modified = headers.get("ETag"), headers.get("Last-Modified")
    if etag is not None and len(etag) > LONGEST_VALIDATOR:
        etag = None
    if last_modified is not None:
        modified = _date(last_modified)
        answered = _date(headers.get("Date", "")) or datetime.now(UTC)
        if modified is None:
            last_modified = None
        elif answered - modified < SAME_SECOND:
            return None  # nginx' ETag, too, is made of seconds and size
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
