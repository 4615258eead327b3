"""A task's data value -> the bytes of its picture.

Three rules hold on every hop of a redirect: the address must be public or Label Studio's own; credentials go to
the origin they are meant for, and never come back once a redirect has left it; all hops share one time limit.
"""

import base64
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from sam_backend.errors import (
    ImageError,
    ImageForbiddenError,
    ImageNotFoundError,
    ImageTimeoutError,
    ImageTooLargeError,
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
from sam_backend.ip_addresses import is_link_local, is_public
from sam_backend.label_studio.access import Credential, LabelStudioAccess, origin_of
from sam_backend.settings import MIB, Settings

logger = logging.getLogger(__name__)

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
CHUNK_BYTES = 65536
USER_AGENT = "label-studio-sam"


@dataclass(frozen=True)
class FetchLimits:
    """How long, how much and from where."""

    timeout_s: float = 30.0  # for one image: DNS, redirects and the whole body
    max_bytes: int = 200_000_000  # of one image, after its content encoding is undone
    allow_private_addresses: bool = False  # hosts other than Label Studio on loopback, LAN or link-local addresses


def fetch_limits(settings: Settings) -> FetchLimits:
    """The limits that the settings give."""
    return FetchLimits(
        timeout_s=settings.fetch_timeout_s,
        max_bytes=settings.max_image_mib * MIB,
        allow_private_addresses=settings.allow_private_addresses,
    )


@dataclass(frozen=True)
class _Hop:
    """One request on the way to the picture."""

    url: str
    credentials: str | None  # value of the Authorization header; dropped for good when the origin changes
    label_studio: Credential | None = None  # that the header was made of, where it goes to Label Studio
    may_renew: bool = False


class ImageFetcher:
    """Fetches pictures; keeps its connections. Safe to share between threads."""

    def __init__(self, access: LabelStudioAccess, limits: FetchLimits, *, resolver: Resolver = resolve) -> None:
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
            ImageNotFoundError: it is not there.
            ImageForbiddenError: a refused token, a private address, another scheme, a login page.
            ImageTooLargeError: more bytes than the limit.
            ImageTimeoutError: more time than the limit.
            BrokenImageError: a data: URI that is none.
            ImageError: the host cannot be reached, or answers with something else.
            LabelStudioError: Label Studio does not exchange the personal access token.
        """
        uri = uri.strip()
        if uri[:5].lower() == "data:":
            return bytes_of_data_uri(uri, self._limits.max_bytes)
        known = self._access.credential  # one value: its token goes to its URL, whatever a /setup brings meanwhile
        url = url_of(uri, known.url if known else None, task_id, project_id)
        deadline = Deadline(self._limits.timeout_s)
        hop = self._first_hop(url, known, login, password)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = self._walk(hop, uri, deadline)
            except TimeoutError as error:
                raise ImageTimeoutError(
                    f"the image {shown(uri)!r} was not here after {deadline.timeout_s:g} s, "
                    f"from {urlsplit(hop.url).hostname}"
                ) from error
            except OSError as error:
                raise ImageError(
                    f"the image {shown(uri)!r} cannot be fetched from {urlsplit(hop.url).hostname}: {error}"
                ) from error
            if isinstance(answer, bytes):
                logger.debug("fetched %s: %d bytes", shown(uri), len(answer))
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

    def _walk(self, hop: _Hop, uri: str, deadline: Deadline) -> bytes | _Hop:
        """The picture, or the next hop to it."""
        headers = {"User-Agent": USER_AGENT, "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity"}
        if hop.credentials is not None:
            headers["Authorization"] = hop.credentials
        addresses = self._allowed_addresses(hop.url, uri, deadline)
        with self._connections.get(hop.url, addresses, headers, deadline) as response:
            status = response.status
            if status in REDIRECTS and "Location" in response.headers:
                return self._redirected(hop, response.headers["Location"], uri)
            if status == 200 and "html" not in response.headers.get("Content-Type", "").lower():
                return self._body(response, uri)
        if status == 401 and hop.may_renew and hop.credentials is not None:
            renewed = self._access.renewed_authorization(hop.credentials, hop.label_studio)
            if renewed is not None:
                return self._walk(replace(hop, credentials=renewed, may_renew=False), uri, deadline)
        raise self._refusal(hop, uri, status)

    def _allowed_addresses(self, url: str, uri: str, deadline: Deadline) -> list[str]:
        _, host, port = origin_of(url)
        try:
            addresses = resolve_within(deadline.remaining_s(), self._resolver, host, port)
        except TimeoutError:
            raise
        except OSError as error:
            raise ImageError(f"the image {shown(uri)!r} is on {host!r}, which has no address") from error
        if self._limits.allow_private_addresses:
            return addresses
        if self._access.is_own_origin(url):
            allowed = [address for address in addresses if not is_link_local(address)]
        else:
            allowed = [address for address in addresses if is_public(address)]
        if not allowed:
            raise ImageForbiddenError(
                f"the image {shown(uri)!r} is on {host!r}, a private address; pictures are fetched from public "
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
            return ImageError(f"the image {shown(uri)!r} cannot be fetched: {host} answered {status}")
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
