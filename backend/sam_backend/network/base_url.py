"""Parser of Label Studio's base URL and token, from the settings or POST /setup.

Anybody who reaches the port may send a /setup, so the parser is strict: the values cannot change the path of a request
beyond the base path, or break a header.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from sam_backend.network.ip_addresses import ip_address_of, is_link_local

MAX_URL_LENGTH, MAX_TOKEN_LENGTH = 2048, 4096  # characters

_HOST = re.compile(r"[A-Za-z0-9._-]+")
_PATH = re.compile(r"[A-Za-z0-9._~/-]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")


def parse_base_url(text: str) -> str:
    """Return an http(s) base URL, which may have a path, without a slash at its end.

    Raises:
        ValueError: the text is not one; the message says why and does not quote the text.
    """
    if len(text) > MAX_URL_LENGTH:
        raise ValueError(f"it has more than {MAX_URL_LENGTH} characters")
    if not text.isascii() or not text.isprintable() or re.search(r"[\s\\]", text):
        raise ValueError("it has characters that are not allowed in a URL")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port  # an invalid port raises
    except ValueError:
        raise ValueError("it is not an http(s) address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("it is not an http(s) address")
    if "@" in parts.netloc:
        raise ValueError("it has a user name or password")
    if "?" in text or "#" in text:
        raise ValueError("it has a query or a fragment")
    if not _PATH.fullmatch(parts.path) or ".." in parts.path.split("/"):
        raise ValueError("its path has characters other than letters, digits, '.', '_', '~', '-' and '/'")
    if not _HOST.fullmatch(host) and not _is_ipv6(host):
        raise ValueError("its host is neither a name nor an IP address")
    address = ip_address_of(host)
    if address is not None and is_link_local(str(address)):
        raise ValueError("its host is a link-local address")
    return text.rstrip("/")


def parse_token(text: str) -> str:
    """Return a token that can be sent in a header.

    Raises:
        ValueError: it cannot; the message says why and does not quote the token.
    """
    if len(text) > MAX_TOKEN_LENGTH:
        raise ValueError(f"it has more than {MAX_TOKEN_LENGTH} characters")
    if not _TOKEN.fullmatch(text):
        raise ValueError("it has characters other than printable ASCII without spaces")
    return text


def _is_ipv6(host: str) -> bool:
    try:
        return not ipaddress.IPv6Address(host).scope_id
    except ValueError:
        return False
