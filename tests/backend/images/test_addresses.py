import threading

import pytest

from sam_backend.images.addresses import resolve, resolve_within
from sam_backend.network.ip_addresses import is_link_local, is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.0",
        "100.63.255.255",
        "2606:4700::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "127.255.0.1",
        "169.254.0.1",
        "172.31.255.255",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2001:0:a00:1::",
        "2001:db8::1",
        "2002:808:808::1",
        "2002:a00:1::",
        "fc00::1",
        "fe80::1%2",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_of_one_machine_or_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::169.254.1.1",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::1",
    ],
)
def test_metadata_services_are_link_local(address: str) -> None:
    assert is_link_local(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "8.8.8.8", "::1", "fd00::1", "::ffff:10.0.0.1"])
def test_other_addresses_are_not_link_local(address: str) -> None:
    assert not is_link_local(address)


def test_a_number_is_an_address_too() -> None:
    assert resolve("2130706433", 80) == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a\0b", ".."])
def test_what_can_be_no_host_has_no_address(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        resolve(host, 80)


def test_a_look_up_that_fails_says_so_and_one_that_hangs_is_left() -> None:
    stop = threading.Event()

    def fails(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    def hangs(host: str, port: int) -> list[str]:
        stop.wait(10)
        return []

    with pytest.raises(OSError, match="no such host"):
        resolve_within(5, fails, "a.example", 80)
    with pytest.raises(TimeoutError, match=r"a\.example"):
        resolve_within(0.05, hangs, "a.example", 80)
    stop.set()
