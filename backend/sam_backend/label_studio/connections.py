"""Connections to Label Studio: never to a link-local address, whatever its name resolves to.

The check is made on the connected socket, so that no second DNS answer can lead elsewhere.
"""

from socket import socket
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sam_backend.network.ip_addresses import is_link_local


class LinkLocalAddressError(urllib3.exceptions.HTTPError):
    """The host is a link-local address; clouds keep their metadata services there."""


def label_studio_pool(timeout_s: float, maxsize: int = 1) -> urllib3.PoolManager:
    """Return a pool of connections that follows no redirect and repeats nothing."""
    pool = urllib3.PoolManager(maxsize=maxsize, retries=False, timeout=urllib3.Timeout(timeout_s))
    pool.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return pool


class _HTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket:
        return _checked(super()._new_conn())


class _HTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket:
        return _checked(super()._new_conn())


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls: Any = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls: Any = _HTTPSConnection


def _checked(connection: socket) -> socket:
    if is_link_local(connection.getpeername()[0]):
        connection.close()
        raise LinkLocalAddressError("the host has a link-local address")
    return connection
