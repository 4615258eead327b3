"""Checks of IP addresses (public, link-local) and a parser of all their spellings.

Source: IANA special-purpose address registries, through `ipaddress`; RFC 6052 and 8215 for NAT64, RFC 3056 for 6to4.
"""

import ipaddress
import re
import socket
import unicodedata

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LAST_32_BITS = (
    _NAT64,
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # NAT64 of one network, with a prefix of 96 bits
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, deprecated
)
_IDEOGRAPHIC_DOTS = re.compile("[\u3002\uff0e\uff61]")  # IDNA (RFC 3490) reads them as "."


def ip_address_of(host: str) -> IPAddress | None:
    """Return the IP address in a URL's host; None if the host is a name.

    Accepts what resolvers accept: decimal, octal, hexadecimal and shortened spellings (`0x7f.1`), full-width digits,
    brackets, zone ids and a dot at the end.
    """
    text = _IDEOGRAPHIC_DOTS.sub(".", unicodedata.normalize("NFKC", host)).strip("[]").rstrip(".")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def is_public(address: str) -> bool:
    """Return whether an IP address can be reached from the whole internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    embedded = _embedded_ipv4(ip)
    if embedded is not None and not is_public(str(embedded)):
        return False
    if ip.sixtofour is not None:  # deprecated by RFC 7526; Python versions differ on whether it is global
        return False
    return ip.ipv4_mapped is not None or ip in _NAT64 or (ip in _GLOBAL_UNICAST and ip.is_global)


def is_link_local(address: str) -> bool:
    """Return whether an IP address is link-local, where clouds have their metadata services."""
    ip = ipaddress.ip_address(address)
    embedded = _embedded_ipv4(ip) if isinstance(ip, ipaddress.IPv6Address) else None
    return ip.is_link_local or (embedded is not None and embedded.is_link_local)


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to `ip` are translated or tunnelled to; None if there is none."""
    if any(ip in network for network in _LAST_32_BITS):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour
