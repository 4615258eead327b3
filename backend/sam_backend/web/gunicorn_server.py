"""The service on gunicorn: one process with model and cache; an event loop reads requests, threads answer them."""

import errno
import logging
import os
import socket
import sys
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from sam_backend.logs import configured_formatter
from sam_backend.service.service import Service
from sam_backend.web.app import create_app
from sam_backend.web.asgi_adapter import AsgiAdapter
from sam_backend.web.gunicorn_worker import WebWorker
from sam_backend.web.malloc import limit_arenas


class PortTakenError(OSError):
    """Another program listens on the port."""


class GunicornLog(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Gunicorn's log in this program's format, which escapes what gunicorn quotes of broken requests."""

    def setup(self, cfg: Any) -> None:
        """Set up the log from gunicorn's settings."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(configured_formatter())


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """Gunicorn with this application, imported before the port opens so that the first answer is fast."""

    def __init__(self, service: Service, host: str, port: int) -> None:
        self._service, self._host = service, host
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings."""
        chosen: dict[str, Any] = {
            "bind": [self._address],
            "worker_class": WebWorker,
            "workers": 1,  # the embedding cache is in the process's memory
            "preload_app": True,
            "timeout": 120,  # s without a notification of the event loop, then gunicorn replaces the worker
            "graceful_timeout": 30,  # more than gunicorn_worker.STOP_S
            "keepalive": 75,
            "asgi_loop": "asyncio",
            "asgi_disconnect_grace_period": 0,  # a request whose client has gone leaves the queue at once
            "http_parser": "python",
            "control_socket_disable": True,
            "loglevel": "warning",
            "logger_class": GunicornLog,
            "post_worker_init": self._start,
            "worker_exit": self._close,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def _start(self, worker: object) -> None:
        """Start the service's threads in the worker, after the fork."""
        limit_arenas()
        self._service.start()

    def _close(self, server: object, worker: Any) -> None:
        """Close the service and exit, in the worker, after its last answer.

        A thread may still embed an image in PyTorch. Python's finalization would stop that thread inside C++ code,
        which ends the process with SIGABRT; `os._exit` skips the finalization.
        """
        self._service.close()
        if worker.booted:
            logging.shutdown()
            sys.stderr.flush()
            os._exit(0)

    def load(self) -> AsgiAdapter:
        """Return the application, made once before the worker is forked."""
        return AsgiAdapter(create_app(self._service, self._host), self._service.settings)


def check_port_is_free(host: str, port: int) -> None:
    """Check that the port is free; gunicorn alone would try for five seconds.

    Raises:
        PortTakenError: another program listens on the port.
        OSError: the host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(
                    f"port {port} is used by another program; choose another port with --port"
                ) from None
            raise
