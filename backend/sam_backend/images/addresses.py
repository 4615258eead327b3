"""Which addresses of the network a task may point to.

Whoever may import tasks chooses the URLs that this process opens, so it opens public addresses only: not this
machine, not its neighbours, not the metadata service of a cloud. The decision is made on the resolved IP address
that is then connected to, since names, decimal or hexadecimal spellings and DNS answers that change all end there.
Source: IANA special-purpose address registries, through `ipaddress`; RFC 6052 for NAT64, RFC 3056 for 6to4.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable

Resolver = Callable[[str, int], list[str]]

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """The IP addresses of `host`, in the order of the system's preference.

    Raises:
        OSError: `host` has none.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ValueError as error:  # a label that IDNA cannot encode, or a null character
        raise OSError(f"{host!r} is no host name") from error
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def resolve_within(timeout_s: float, resolver: Resolver, host: str, port: int) -> list[str]:
    """`resolver(host, port)`, given up after `timeout_s` seconds: getaddrinfo knows no time limit.

    Raises:
        TimeoutError: no answer in time; the look-up's thread ends when the system gives up.
        OSError: `host` has no address.
    """
    answer: list[str] = []
    failure: list[OSError] = []

    def look_up() -> None:
        try:
            answer.extend(resolver(host, port))
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=look_up, name=f"resolve-{host}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise TimeoutError(f"no DNS answer for {host!r}")
    if failure:
        raise failure[0]
    return answer


def is_public(address: str) -> bool:
    """Whether an IP address is one that every machine of the internet could reach."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    embedded = _embedded_ipv4(ip)
    if embedded is not None and not is_public(str(embedded)):
        return False
    if ip.sixtofour is not None:  # out of use since RFC 7526, and Pythons differ on whether it is global
        return False
    return ip.ipv4_mapped is not None or ip in _NAT64 or (ip in _GLOBAL_UNICAST and ip.is_global)


def is_link_local(address: str) -> bool:
    """Whether an IP address is one of those where clouds keep their metadata services."""
    ip = ipaddress.ip_address(address)
    embedded = _embedded_ipv4(ip) if isinstance(ip, ipaddress.IPv6Address) else None
    return ip.is_link_local or (embedded is not None and embedded.is_link_local)


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a packet to `ip` ends at, where there is one."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour
