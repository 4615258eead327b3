"""Connections to Label Studio, but never to a link-local address.

The connected socket is checked, so a second DNS answer cannot bypass the check.
"""

from socket import socket
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sam_backend.network.ip_addresses import is_link_local


class LinkLocalAddressError(urllib3.exceptions.HTTPError):
    """The host has a link-local address, where clouds have their metadata services."""


def label_studio_pool(timeout_s: float, maxsize: int = 1) -> urllib3.PoolManager:
    """Return a connection pool without redirects and retries."""
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
