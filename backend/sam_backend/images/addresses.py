"""Host names of image URLs -> IP addresses.

Users who import tasks choose the URLs that this process opens. So the fetcher checks the resolved IP address, and opens
the connection to that address: other spellings of an address and changing DNS answers cannot evade the check.
"""

import socket
import threading
from collections.abc import Callable

Resolver = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of `host`, in the system's order of preference.

    Raises:
        OSError: `host` has no IP address.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ValueError as error:  # a label that IDNA cannot encode, or a null character
        raise OSError(f"{host!r} is not a host name") from error
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def resolve_within(timeout_s: float, resolver: Resolver, host: str, port: int) -> list[str]:
    """Return `resolver(host, port)`, with a time limit, which getaddrinfo lacks.

    Raises:
        TimeoutError: no answer after `timeout_s` seconds; the thread ends when the system's look-up does.
        OSError: `host` has no IP address.
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
