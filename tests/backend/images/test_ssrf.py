"""Addresses that a task may not lead to, in every spelling and behind every redirect: nobody there is reached.

The fetcher is the real one, with real sockets. Connections are diverted to loopback, so that a failing test contacts
nobody: what is meant for the one public address or for Label Studio goes to a server that redirects, all else to one
that counts arrivals.
"""

import ipaddress
import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3.util.connection

from sam_backend.errors import BackendError
from sam_backend.images.fetch import FetchLimits, ImageFetcher
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.web_server import Answer, Asked, serving

PUBLIC = "93.184.216.34"
NAMES = {
    "public.example": [PUBLIC],
    "private.example": ["10.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "six.example": ["::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"],
    "localhost": ["127.0.0.1", "::1"],
}
LABEL_STUDIO = "http://127.0.0.2:8080"
PATH = "/latest/meta-data/iam"


def resolver(host: str, port: int) -> list[str]:
    """Names of the table, and the numbers that getaddrinfo takes; no DNS server is asked."""
    known = NAMES.get(host.rstrip(".").lower())
    if known is not None:
        return known
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except ValueError as error:
        raise OSError("no host name") from error
    return [str(answer[4][0]) for answer in found]


class Network:
    """Where connections end."""

    def __init__(self) -> None:
        self.location = ""
        self.status = 302
        self.arrived = 0  # at what is not public
        self.meant: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._count, daemon=True).start()

    def redirect(self, asked: Asked) -> Answer:
        if asked.path.startswith("/again"):
            return Answer(b"", self.status, {"Location": self.location})
        if asked.path.startswith("/twice"):
            return Answer(b"", 302, {"Location": "http://public.example/again"})
        return Answer(b"not here", 404)

    def divert(self, public_port: int) -> Any:
        connect = urllib3.util.connection.create_connection

        def diverted(address: tuple[str, int], *arguments: Any, **options: Any) -> socket.socket:
            if address[0] == PUBLIC or address == ("127.0.0.2", 8080):
                return connect(("127.0.0.1", public_port), *arguments, **options)
            self.meant.append(address[0])
            return connect(("127.0.0.1", self._listener.getsockname()[1]), *arguments, **options)

        return diverted

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.arrived += 1
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    found = Network()
    with serving(found.redirect) as public:
        monkeypatch.setattr(urllib3.util.connection, "create_connection", found.divert(public.port))
        yield found
    found.close()


def fetcher(**limits: Any) -> ImageFetcher:
    access = LabelStudioCredentials(LABEL_STUDIO, "0123456789")
    return ImageFetcher(access, FetchLimits(timeout_s=10, **limits), resolver=resolver)


def fetched(images: ImageFetcher, uri: str) -> bytes | None:
    try:
        return images.fetch(uri, task_id=1, project_id=1, login="ann", password="secret")
    except BackendError:
        return None


def in_base(address: str, base: str) -> str:
    return ".".join(format(int(part), base) for part in address.split("."))


def spellings(address: str) -> list[str]:
    """An IPv4 address as URLs' hosts may spell it."""
    a, b, c, d = (int(part) for part in address.split("."))
    number = int(ipaddress.IPv4Address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    full_width = address.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    circled = "".join("\u24ea" if x == "0" else chr(0x2460 + int(x) - 1) if x.isdigit() else x for x in address)
    return [
        address,
        address + ".",
        str(number),
        hex(number),
        hex(number).upper().replace("0X", "0x"),
        f"0{number:o}",
        in_base(address, "#x"),
        ".".join(f"0{int(part):o}" for part in address.split(".")),
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{c << 8 | d}",
        f"0x{a:02x}.0{b:o}.{c}.{d}",
        f"{a:04o}.{b:04o}.{c:04o}.{d:04o}",
        full_width,
        circled,
        address.replace(".", "\u3002"),
        address.replace(".", "\uff0e"),
        address.replace(".", "%2e"),
        f"[::ffff:{address}]",
        f"[::ffff:{high}:{low}]",
        f"[0:0:0:0:0:ffff:{high}:{low}]",
        f"[::{address}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b::{high}:{low}]",
        f"[64:ff9b:1::{high}:{low}]",
        f"[2002:{high}:{low}::]",
        f"[2001:0:{high}:{low}:0:0:{0xFFFF ^ int(high, 16):x}:{0xFFFF ^ int(low, 16):x}]",
        f"[::ffff:{address}%25eth0]",
    ]


TARGETS = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "172.16.0.1", "100.64.0.1", "0.0.0.0"]
HOSTS = [host for target in TARGETS for host in spellings(target)]
HOSTS += ["[::1]", "[::]", "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[fd00:ec2::254]", "[ff02::1]", "[fec0::1]"]
HOSTS += ["localhost", "LOCALHOST", "localhost.", "LocalHost", "private.example", "metadata.example", "six.example"]
URLS = [f"http://{host}{PATH}" for host in HOSTS]
TRICKS = [
    "http://public.example@127.0.0.1/x",
    "http://public.example:80@127.0.0.1/x",
    "http://public.example%40@127.0.0.1/x",
    "http://ann:secret@127.0.0.1/x",
    "http://127.0.0.1@public.example:80@127.0.0.1/x",
    "http://127.0.0.1\\@public.example/x",
    "http://public.example\\@127.0.0.1/x",
    "http:\\\\127.0.0.1/x",
    "http:/\\127.0.0.1/x",
    "http:///127.0.0.1/x",
    "http:127.0.0.1/x",
    "http://127.0.0.1#@public.example/x",
    "http://127.0.0.1?@public.example/x",
    "http://127.0.0.1:80#public.example",
    "http://127.0.0.1\t/x",
    "http://127.0\n.0.1/x",
    "ht\ntp://127.0.0.1/x",
    "\thttp://127.0.0.1/x\r\n",
    "http://127.0.0.1\r\nHost: public.example/x",
    "http://127.0.0.1 /x",
    "http:// 127.0.0.1/x",
    "http://127.0.0.1\x00.public.example/x",
    "http://127.0.0.1%00.public.example/x",
    "http://127.0.0.1\u200b/x",
    "http://\u00ad127.0.0.1/x",
    "HTTP://127.0.0.1/x",
    "hTtPs://127.0.0.1/x",
    "https://169.254.169.254/x",
    "http://127.0.0.1:08081/x",
    "http://127.0.0.2:8080\\@127.0.0.1/x",
    "http://127.0.0.2:8080@127.0.0.1/data/upload/1/x",
    "http://127.0.0.2:8081/data/upload/1/x",
    "https://127.0.0.2:8080/data/upload/1/x",
    "http://127.0.0.1:22/x",
    "//127.0.0.1/x",
    "///127.0.0.1/data/upload/1/x",
    "\\\\127.0.0.1\\x",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "ftp://127.0.0.1/x",
    "unix://127.0.0.1/x",
    "jar:http://127.0.0.1!/x",
    "url:http://127.0.0.1/x",
    "@127.0.0.1/data/x",
    ".private.example/data/x",
    "/data/upload/../../..//127.0.0.1/x",
]


def test_no_spelling_of_a_private_address_is_reached(network: Network) -> None:
    images, asked = fetcher(), [*URLS, *TRICKS]

    answers = {uri: fetched(images, uri) for uri in asked}

    assert len(set(asked)) >= 99
    assert [uri for uri, answer in answers.items() if answer is not None] == []
    assert (network.arrived, network.meant) == (0, [])


STATUSES = (301, 302, 303, 307, 308)
LOCATIONS = [
    *(f"http://{host}{PATH}" for target in ("127.0.0.1", "169.254.169.254") for host in spellings(target)),
    "http://[::1]/x",
    "http://[fe80::1%25lo]/x",
    "http://localhost/x",
    "http://private.example/x",
    "http://six.example/x",
    "https://127.0.0.1/x",
    "//127.0.0.1/x",
    "//public.example@127.0.0.1/x",
    "\\\\127.0.0.1/x",
    "/\\127.0.0.1/x",
    "///127.0.0.1/x",
    "http:127.0.0.1/x",
    "http://127.0.0.1:8081/data/upload/1/x.png",
    "http://ann:secret@10.0.0.1/x",
    "ht\ttp://127.0.0.1/x",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "ftp://127.0.0.1/x",
    "data:image/png;base64,AAAA",
]


def test_no_redirect_leads_to_a_private_address(network: Network) -> None:
    images, asked = fetcher(), list(itertools.product(STATUSES, LOCATIONS, ("/again", "/twice")))

    answers = {}
    for network.status, location, start in asked:
        network.location = location.encode("utf-8").decode("latin-1")  # as bytes on the wire
        answers[network.status, location, start] = fetched(images, f"http://public.example{start}")

    assert len(asked) >= 92
    assert [redirect for redirect, answer in answers.items() if answer is not None] == []
    assert (network.arrived, network.meant) == (0, [])


def test_an_address_that_was_public_when_it_was_looked_at_is_the_one_that_is_connected_to(network: Network) -> None:
    answers = itertools.cycle([[PUBLIC], ["127.0.0.1"]])
    access = LabelStudioCredentials(LABEL_STUDIO, "0123456789")
    images = ImageFetcher(access, FetchLimits(timeout_s=10), resolver=lambda host, port: next(answers))

    for _ in range(6):
        assert fetched(images, "http://rebinding.example/x") is None

    assert (network.arrived, network.meant) == (0, [])


def test_private_addresses_would_be_reached_where_the_settings_allow_them(network: Network) -> None:
    """The other way round: these spellings work, and the counter counts."""
    images = fetcher(allow_private_addresses=True)
    spelt = [f"http://{host}{PATH}" for host in spellings("10.0.0.1")]

    reached = [uri for uri in spelt if fetched(images, uri) == b"secret"]
    network.location = "http://10.0.0.1/x"
    redirected = fetched(images, "http://public.example/again")

    assert len(reached) >= 15
    assert redirected == b"secret"
    assert network.arrived == len(reached) + 1


def test_link_local_addresses_are_refused_even_where_private_addresses_are_allowed(network: Network) -> None:
    images = fetcher(allow_private_addresses=True)
    hosts = [*spellings("169.254.169.254"), "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "metadata.example"]
    asked = [f"http://{host}{PATH}" for host in hosts]

    answers = {uri: fetched(images, uri) for uri in asked}
    for network.location in asked:
        network.location = network.location.encode("utf-8").decode("latin-1")  # as bytes on the wire
        for start in ("/again", "/twice"):
            answers[f"{start} to {network.location}"] = fetched(images, f"http://public.example{start}")

    assert len(answers) >= 90
    assert [uri for uri, answer in answers.items() if answer is not None] == []
    assert (network.arrived, network.meant) == (0, [])


def test_a_host_with_a_link_local_and_a_private_address_is_reached_at_the_private_one(network: Network) -> None:
    access = LabelStudioCredentials(LABEL_STUDIO, "0123456789")
    limits = FetchLimits(timeout_s=10, allow_private_addresses=True)
    images = ImageFetcher(access, limits, resolver=lambda host, port: ["169.254.169.254", "10.0.0.1"])

    assert fetched(images, "http://both.example/x") == b"secret"
    assert network.meant == ["10.0.0.1"]
