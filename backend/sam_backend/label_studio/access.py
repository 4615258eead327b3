"""Where Label Studio is, and the token that lets us in.

Both come from the settings (LABEL_STUDIO_URL, LABEL_STUDIO_API_KEY) or, where those are left open, from POST
/setup. Label Studio 1.23 knows two kinds of token: the legacy one, sent as `Token <40 hex>`, which new
organizations refuse; and the personal access token, a JWT that is exchanged at /api/token/refresh/ for a bearer
token of five minutes.
"""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import urllib3

from sam_backend.errors import ImageError, ImageForbiddenError, ImageTimeoutError

logger = logging.getLogger(__name__)

WAY_OUT = (
    "create a personal access token in Label Studio under Account & Settings, and start the backend with "
    "LABEL_STUDIO_URL=<address of Label Studio> LABEL_STUDIO_API_KEY=<the token>"
)
RENEW_AFTER_S = 240.0  # a bearer token lives for 300 s
EXCHANGE_TIMEOUT_S = 10.0

Origin = tuple[str, str, int]


def origin_of(url: str) -> Origin:
    """Scheme, host and port of an http(s) URL.

    Raises:
        ValueError: `url` has another scheme, no host or no valid port.
    """
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
    if scheme not in ("http", "https") or not host:
        raise ValueError("not an http(s) address")
    return scheme, host, parts.port or (443 if scheme == "https" else 80)


def is_timeout(error: Exception) -> bool:
    """Whether time ran out; urllib3 2 counts refused connections among its timeouts."""
    timeouts = TimeoutError | urllib3.exceptions.TimeoutError
    return isinstance(error, timeouts) and not isinstance(error, urllib3.exceptions.NewConnectionError)


class LabelStudioAccess:
    """Where Label Studio is and how to be let in: base URL (may have a path prefix) and token.

    The API key of the settings goes to the URL of the settings only: POST /setup needs no password, so a
    stranger's `hostname` must not be able to collect the key. Safe to share between threads.
    """

    def __init__(self, url: str | None, api_key: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        if url:
            try:
                origin_of(url)
            except ValueError as error:
                raise ValueError(f"LABEL_STUDIO_URL={url!r} is not an http(s) address") from error
        if api_key and not url:
            raise ValueError("LABEL_STUDIO_API_KEY needs LABEL_STUDIO_URL beside it")
        self._configured_url = url.rstrip("/") if url else None
        self._configured_key = api_key or None
        self._learned_url: str | None = None
        self._learned_token: str | None = None
        self._lock = threading.Lock()
        self._clock = clock
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=EXCHANGE_TIMEOUT_S))
        self._exchange_lock = threading.Lock()  # one exchange at a time, however many threads ask
        self._bearer: tuple[str, str, float] | None = None  # personal access token, bearer token, renewal time
        self._warned_of: set[str] = set()

    def learn_from_setup(self, hostname: str, access_token: str) -> None:
        """Take from POST /setup what the settings left open."""
        try:
            origin_of(hostname)
        except ValueError:
            self._warn_once(
                f"POST /setup names {hostname!r} as Label Studio's address, which is not an http(s) address"
            )
            hostname = ""
        with self._lock:
            self._learned_url = hostname.rstrip("/") or self._learned_url
            self._learned_token = access_token or self._learned_token

    @property
    def url(self) -> str | None:
        """Label Studio's address without a slash at the end; None while it is not known."""
        with self._lock:
            return self._configured_url or self._learned_url

    @property
    def is_known(self) -> bool:
        """Whether there are an address and a token."""
        return self.url is not None and self._token() is not None

    def child_environment(self) -> dict[str, str]:
        """The variables by which another process of this program is let in as we are."""
        known = {"LABEL_STUDIO_URL": self.url, "LABEL_STUDIO_API_KEY": self._token()}
        return {variable: value for variable, value in known.items() if value}

    def is_own_origin(self, url: str) -> bool:
        """Whether scheme, host and port of `url` are those of Label Studio."""
        base = self.url
        try:
            return base is not None and origin_of(url) == origin_of(base)
        except ValueError:
            return False

    def authorization(self) -> str | None:
        """The value of the Authorization header; None while no token is known.

        Raises:
            ImageForbiddenError: Label Studio refuses the personal access token.
            ImageTimeoutError: Label Studio does not answer.
            ImageError: Label Studio cannot be reached, or answers with something else.
        """
        token = self._token()
        if token is None:
            return None
        return f"Bearer {self._bearer_for(token)}" if _is_personal(token) else f"Token {token}"

    def renewed_authorization(self, refused: str) -> str | None:
        """Another header value to try after `refused` got a 401; None when there is none.

        A bearer token can have been revoked, or live for less than five minutes, by Label Studio's settings.

        Raises:
            ImageError: as `authorization` does.
        """
        with self._exchange_lock:
            if self._bearer is not None and refused == f"Bearer {self._bearer[1]}":
                self._bearer = None
        renewed = self.authorization()
        return renewed if renewed != refused else None

    def explain_refusal(self) -> str:
        """Say why Label Studio may have refused us, and what helps; the log gets it once per token."""
        token = self._token()
        if token is None:
            return f"no token is known; {WAY_OUT}"
        explanation = f"Label Studio at {self.url} refused {self.describe_token()}; {WAY_OUT}"
        self._warn_once(explanation, subject=token)
        return explanation

    def describe_token(self) -> str | None:
        """Kind and source of the token, in words that do not show it; None where there is none."""
        token = self._token()
        if token is None:
            return None
        kind = "personal access token" if _is_personal(token) else "legacy token"
        source = "LABEL_STUDIO_API_KEY" if token == self._configured_key else "POST /setup"
        ended = _end_of(token)
        over = f" (valid until {ended:%Y-%m-%d})" if ended and ended < datetime.now(UTC) else ""
        return f"the {kind} from {source}{over}"

    def _token(self) -> str | None:
        with self._lock:
            return self._configured_key or self._learned_token

    def _bearer_for(self, personal_token: str) -> str:
        with self._exchange_lock:
            if self._bearer is None or self._bearer[0] != personal_token or self._clock() >= self._bearer[2]:
                asked_at = self._clock()
                self._bearer = (personal_token, self._exchange(personal_token), asked_at + RENEW_AFTER_S)
            return self._bearer[1]

    def _exchange(self, personal_token: str) -> str:
        url = self.url
        try:
            answer = self._http.request(
                "POST", f"{url}/api/token/refresh/", json={"refresh": personal_token}, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            if is_timeout(error):
                raise ImageTimeoutError(
                    f"Label Studio at {url} did not answer within {EXCHANGE_TIMEOUT_S:g} s"
                ) from error
            raise ImageError(f"Label Studio at {url} cannot be reached") from error
        if answer.status in (401, 403):
            raise ImageForbiddenError(self.explain_refusal())
        bearer = _access_token(answer.data) if answer.status == 200 else None
        if bearer is None:
            location = answer.headers.get("Location", "")
            hint = f", redirecting to {location.partition('?')[0]}" if location else ""
            raise ImageError(
                f"{url}/api/token/refresh/ answered {answer.status}{hint} in place of an access token; "
                "is this the address of Label Studio?"
            )
        return bearer

    def _warn_once(self, message: str, subject: str | None = None) -> None:
        with self._lock:
            is_new = (subject or message) not in self._warned_of
            self._warned_of.add(subject or message)
        if is_new:
            logger.warning("%s", message)


def _is_personal(token: str) -> bool:
    return token.count(".") == 2  # a JWT; legacy tokens are 40 hex digits


def _end_of(token: str) -> datetime | None:
    """Until when a JWT says that it is valid; None where that cannot be read."""
    if not _is_personal(token):
        return None
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


def _access_token(body: bytes) -> str | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    token = answer.get("access") if isinstance(answer, dict) else None
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else None
