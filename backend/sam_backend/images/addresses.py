"""Which addresses of the network a task may point to.

Whoever may import tasks chooses the URLs that this process opens, so it opens public addresses only: not this
machine, not its neighbours, not the metadata service of a cloud. The decision is made on the resolved IP address
that is then connected to, since names, decimal or hexadecimal spellings and DNS answers that change all end there.
"""

import socket
import threading
from collections.abc import Callable

Resolver = Callable[[str, int], list[str]]


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
