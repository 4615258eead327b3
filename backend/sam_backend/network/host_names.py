"""Allowed values of a request's Host header, against DNS rebinding.

A web page of a foreign domain can let its name point to this machine. The browser then treats its requests as
same-origin, but the Host header still holds the foreign name. IP literals, and names outside public DNS, cannot be
rebound.
"""

import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from sam_backend.network.ip_addresses import ip_address_of

# RFC 6761, 6762, 8375, ICANN's decision of 2024 on .internal, and Kubernetes' cluster names
PRIVATE_SUFFIXES = (".localhost", ".local", ".home.arpa", ".internal", ".svc")
DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


def own_names(bind_host: str | None = None) -> frozenset[str]:
    """Return the host name of this machine and of the listening address, in lower case."""
    names = {socket.gethostname(), bind_host or ""}
    return frozenset(name.lower().rstrip(".") for name in names if name)


def is_allowed_host(header: str, names: Iterable[str]) -> bool:
    """Return whether the value of a Host header is an IP address, a private name, or one of `names`.

    Args:
        header: such as `sam:9090`.
        names: in lower case; `*.example.org` stands for every name below example.org, `*` for any.
    """
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    host = found[1].lower().rstrip(".")
    if ip_address_of(host) is not None or (host and "." not in host) or host.endswith(PRIVATE_SUFFIXES):
        return True
    return any(name in (host, "*") or (name.startswith("*.") and host.endswith(name[1:])) for name in names)


def is_same_host(origin: str, header: str) -> bool:
    """Return whether an Origin header names the host and port of a Host header."""
    try:
        parts = urlsplit(origin)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return False
    found = _HOST.fullmatch(header)
    if found is None or not parts.hostname:
        return False
    own_port = int(found[2]) if found[2] else DEFAULT_PORTS[parts.scheme]
    return (parts.hostname, port) == (found[1].strip("[]").lower(), own_port)
