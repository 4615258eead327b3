"""Label Studio's URL and API token.

Both come from the settings (LABEL_STUDIO_URL, LABEL_STUDIO_API_KEY) or, if those are not set, from the first POST
/setup. Label Studio 1.23 has two kinds of token: the legacy token, sent as `Token <40 hex>`, which new organizations
refuse; and the personal access token, a JWT that is exchanged at /api/token/refresh/ for a bearer token of five
minutes.
"""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import urllib3

from sam_backend.errors import LabelStudioError, LabelStudioForbiddenError, LabelStudioTimeoutError
from sam_backend.label_studio.connections import label_studio_pool
from sam_backend.network.base_url import parse_base_url
from sam_backend.redaction import mask_userinfo

logger = logging.getLogger(__name__)

WAY_OUT = (
    "create a personal access token in Label Studio under Account & Settings, and start the backend with "
    "LABEL_STUDIO_URL=<address of Label Studio> LABEL_STUDIO_API_KEY=<the token>"
)
RENEW_AFTER_S = 240.0  # a bearer token lives for 300 s
EXCHANGE_TIMEOUT_S = 10.0
MAX_WARNINGS = 100  # POST /setup needs no password by default, so a stranger could fill the log
IS_LEARNED = (
    "SAM_LABEL_STUDIO_IS_LEARNED"  # environment of our worker processes: LABEL_STUDIO_URL comes from a POST /setup
)

Origin = tuple[str, str, int]


def origin_of(url: str) -> Origin:
    """Return scheme, host and port of an http(s) URL.

    Raises:
        ValueError: `url` has another scheme, no host or no valid port.
    """
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
    if scheme not in ("http", "https") or not host:
        raise ValueError("not an http(s) address")
    return scheme, host, parts.port or (443 if scheme == "https" else 80)


def is_timeout(error: Exception) -> bool:
    """Return whether an error is a timeout; urllib3 2 counts refused connections among its timeouts."""
    timeouts = TimeoutError | urllib3.exceptions.TimeoutError
    return isinstance(error, timeouts) and not isinstance(error, urllib3.exceptions.NewConnectionError)


@dataclass(frozen=True)
class Credential:
    """Label Studio's base URL with its token; as one value, so that a token cannot be sent to another URL."""

    url: str  # without a slash at the end; may have a path
    token: str | None = field(default=None, repr=False)
    is_url_from_settings: bool = False  # else from a POST /setup, which anybody may send
    is_token_from_settings: bool = False

    def is_for(self, url: str) -> bool:
        """Return whether `url` has the scheme, host and port that the token may go to."""
        try:
            return origin_of(url) == origin_of(self.url)
        except ValueError:
            return False


class LabelStudioCredentials:
    """Label Studio's base URL and token, from the settings or from POST /setup.

    POST /setup needs no password by default, so a stranger may send one. Settings take precedence. Values that they do
    not set come from the first /setup with both an address and a token, and stay until a restart, or until that Label
    Studio refuses the token: only then another /setup is accepted. A token from /setup is sent only to the origin
    (scheme, host, port) that the same /setup named. Threads may share an instance.
    """

    def __init__(
        self,
        url: str | None,
        api_key: str | None,
        *,
        is_learned: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            url: of the settings.
            api_key: of the settings.
            is_learned: whether both come from a POST /setup that the parent process received.
            clock: in seconds.

        Raises:
            ValueError: `url` is no base URL, or `api_key` is given without `url`.
        """
        if url:
            try:
                url = parse_base_url(url)
            except ValueError as error:
                raise ValueError(f"LABEL_STUDIO_URL={mask_userinfo(url)!r} cannot be used: {error}") from None
        if api_key and not url:
            raise ValueError("LABEL_STUDIO_API_KEY is set without LABEL_STUDIO_URL; set both")
        self._credential = (
            Credential(url, api_key or None, not is_learned, bool(api_key) and not is_learned) if url else None
        )
        self._refused: Credential | None = None  # the last credential that Label Studio refused
        self._lock = threading.Lock()
        self._clock = clock
        self._http = label_studio_pool(EXCHANGE_TIMEOUT_S)
        self._exchange_lock = threading.Lock()  # one exchange at a time for all threads
        self._bearer: tuple[Credential, str, float] | None = None  # (credential, bearer token, renewal time)
        self._warned_of: set[object] = set()

    def learn_from_setup(self, hostname: str, access_token: str) -> None:
        """Use address and token of a POST /setup unless known; warn once per origin about another Label Studio.

        Args:
            hostname: a base URL; if empty, the token is ignored.
            access_token: a token, or empty.
        """
        if not hostname:
            return
        offered = Credential(hostname.rstrip("/"), access_token or None)
        with self._lock:
            known = self._credential
            if known is not None and known.is_token_from_settings:
                return
            learned = self._learned(known, offered)
            if learned is not None:
                self._credential = learned
        if known is not None and learned is None and not known.is_for(offered.url):
            self._warn_once(
                f"ignored the address and token of a POST /setup for {offered.url}: this backend uses Label Studio at "
                f"{known.url}; set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or restart the backend",
                subject=("setup", origin_of(offered.url)),
            )

    def _learned(self, known: Credential | None, offered: Credential) -> Credential | None:
        """Return the credential after a /setup; None if it does not change."""
        if known is None:
            return offered
        may_replace = known.token is None or known == self._refused
        if not may_replace or offered.token is None:
            return None
        if known.is_url_from_settings:
            return replace(known, token=offered.token) if known.is_for(offered.url) else None
        return offered if offered != known else None

    @property
    def credential(self) -> Credential | None:
        """Base URL and token; None while no address is known."""
        with self._lock:
            return self._credential

    @property
    def url(self) -> str | None:
        """Label Studio's address without a slash at the end; None while unknown."""
        known = self.credential
        return known.url if known else None

    @property
    def is_known(self) -> bool:
        """Return whether address and token are known."""
        known = self.credential
        return known is not None and known.token is not None

    def child_environment(self) -> dict[str, str]:
        """Return the environment variables that give a child process the same address and token."""
        known = self.credential
        if known is None:
            return {}
        variables = {"LABEL_STUDIO_URL": known.url, "LABEL_STUDIO_API_KEY": known.token}
        variables[IS_LEARNED] = None if known.is_url_from_settings else "1"
        return {variable: value for variable, value in variables.items() if value}

    def is_own_origin(self, url: str) -> bool:
        """Return whether `url` has Label Studio's scheme, host and port."""
        known = self.credential
        return known is not None and known.is_for(url)

    def authorization(self, credential: Credential | None = None) -> str | None:
        """Return the value of the Authorization header for `credential.url`; None while no token is known.

        `credential` is an earlier value of `self.credential`; by default the present one.

        Raises:
            LabelStudioForbiddenError: Label Studio refuses the personal access token.
            LabelStudioTimeoutError: Label Studio does not answer.
            LabelStudioError: Label Studio cannot be reached, or answers without an access token.
        """
        credential = credential or self.credential
        if credential is None or credential.token is None:
            return None
        if _is_personal(credential.token):
            return f"Bearer {self._bearer_for(credential, credential.token)}"
        return f"Token {credential.token}"

    def renewed_authorization(self, refused: str, credential: Credential | None = None) -> str | None:
        """Return another header value to try after `refused` got a 401; None if there is none.

        A bearer token may have been revoked, or expire earlier than after five minutes by Label Studio's settings.

        Raises:
            LabelStudioError: as `authorization` does.
        """
        credential = credential or self.credential
        with self._exchange_lock:
            if self._bearer is not None and refused == f"Bearer {self._bearer[1]}":
                self._bearer = None
        renewed = self.authorization(credential)
        return renewed if renewed != refused else None

    def note_refusal(self, credential: Credential) -> None:
        """Record that Label Studio refused the token: unless it is set, the next /setup may replace it."""
        with self._lock:
            self._refused = credential

    def explain_refusal(self, credential: Credential | None = None) -> str:
        """Record that Label Studio refused the token; return a message with the fix, which is logged once."""
        credential = credential or self.credential
        if credential is None or credential.token is None:
            return f"no token is known; {WAY_OUT}"
        self.note_refusal(credential)
        explanation = f"Label Studio at {credential.url} refused {_described(credential)}; {WAY_OUT}"
        self._warn_once(explanation, subject=credential)
        return explanation

    def describe_token(self) -> str | None:
        """Return kind and source of the token without the token itself; None if there is no token."""
        known = self.credential
        return _described(known) if known is not None and known.token is not None else None

    def _bearer_for(self, credential: Credential, personal_token: str) -> str:
        with self._exchange_lock:
            if self._bearer is None or self._bearer[0] != credential or self._clock() >= self._bearer[2]:
                asked_at = self._clock()
                self._bearer = (credential, self._exchange(credential, personal_token), asked_at + RENEW_AFTER_S)
            return self._bearer[1]

    def _exchange(self, credential: Credential, personal_token: str) -> str:
        url = credential.url
        try:
            answer = self._http.request(
                "POST", f"{url}/api/token/refresh/", json={"refresh": personal_token}, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            if is_timeout(error):
                raise LabelStudioTimeoutError(
                    f"Label Studio at {url} did not answer within {EXCHANGE_TIMEOUT_S:g} s"
                ) from error
            raise LabelStudioError(f"Label Studio at {url} cannot be reached") from error
        if answer.status in (401, 403):
            raise LabelStudioForbiddenError(self.explain_refusal(credential))
        bearer = _access_token(answer.data) if answer.status == 200 else None
        if bearer is None:
            location = answer.headers.get("Location", "") if credential.is_url_from_settings else ""
            hint = f", redirecting to {mask_userinfo(location.partition('?')[0])}" if location else ""
            raise LabelStudioError(
                f"{url}/api/token/refresh/ answered {answer.status}{hint} instead of an access token; "
                "check that this is the address of Label Studio"
            )
        return bearer

    def _warn_once(self, message: str, subject: object) -> None:
        with self._lock:
            is_new = subject not in self._warned_of and len(self._warned_of) < MAX_WARNINGS
            if is_new:
                self._warned_of.add(subject)
        if is_new:
            logger.warning("%s", message)


def _described(credential: Credential) -> str:
    token = credential.token or ""
    kind = "personal access token" if _is_personal(token) else "legacy token"
    source = "LABEL_STUDIO_API_KEY" if credential.is_token_from_settings else "POST /setup"
    expiry = _expiry_of(token)
    expired = f" (expired on {expiry:%Y-%m-%d})" if expiry and expiry < datetime.now(UTC) else ""
    return f"the {kind} from {source}{expired}"


def _is_personal(token: str) -> bool:
    return token.count(".") == 2  # a JWT; legacy tokens are 40 hex digits


def _expiry_of(token: str) -> datetime | None:
    """Return the expiry time in a JWT; None if it cannot be read."""
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
