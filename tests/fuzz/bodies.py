"""Mutated requests against the WSGI application of the real service, in this process and without a network.

None may be answered with a 5xx other than 503 (502 only where the answer needs Label Studio), raise, leave a traceback
in the log or take long. Every request follows from the seed and its number, so that one is enough to see a failure
again.

    python tests/fuzz/bodies.py --count 1000000              a new seed, which is printed
    python tests/fuzz/bodies.py --seed 7 --first 4711 --count 1
"""

import argparse
import io
import json
import logging
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from fuzz.mutations import Request, good_requests, mutated
from sam_backend.service.service import assemble
from sam_backend.settings import Settings
from sam_backend.web.app import create_app
from sam_model.weights.store import store_from_env

MAX_CPU_S = 3.0  # for one request, all threads together
HANGS_AFTER_S = 60.0
TRIES = 400  # to make a failing body smaller


class _Failures(logging.Handler):
    """What the log must not hold: tracebacks, and calls that cannot be formatted."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception as error:  # noqa: BLE001  # a log call that cannot be formatted is a finding
            self.found.append(f"a log call that fails: {error!r}")
            return
        if record.exc_info:
            self.found.append(f"in the log: {record.exc_info[1]!r}; {text[:200]}")


@dataclass
class Target:
    """The application, and what was noticed while it answered."""

    app: Callable[..., Any]
    log: _Failures = field(default_factory=_Failures)
    statuses: Counter[int] = field(default_factory=Counter)
    number: int = 0
    since: float = field(default_factory=time.monotonic)

    def ask(self, request: Request) -> tuple[int, str | None]:
        """Status and what is wrong with the answer; None: nothing."""
        self.since = time.monotonic()
        self.log.found.clear()
        begin, statuses = time.process_time(), []
        try:
            answer = self.app(environ(request), lambda status, *_: statuses.append(int(status[:3])))
            size = sum(len(piece) for piece in answer)
            if hasattr(answer, "close"):
                answer.close()
        except Exception as error:  # noqa: BLE001  # whatever leaves the application is a finding
            return 0, f"raised {error!r}"[:300]
        took = time.process_time() - begin
        status = statuses[-1]
        no_label_studio = status == 502 and "/api/" in request.path  # there is none while fuzzing
        if status >= 500 and status != 503 and not no_label_studio:
            return status, f"status {status}; {'; '.join(self.log.found)}"[:500]
        if self.log.found:
            return status, self.log.found[0]
        if took > MAX_CPU_S:
            return status, f"took {took:.1f} s of CPU time"
        return status, None if size < 100_000_000 else f"an answer of {size} bytes"

    def smaller(self, request: Request, problem: str) -> Request:
        """Return a request that fails in the same way with as little as can be found in a bounded number of tries."""
        kind, tries = problem[:24], 0

        def fails(candidate: Request) -> bool:
            nonlocal tries
            tries += 1
            return (self.ask(candidate)[1] or "").startswith(kind)

        piece = max(1, len(request.body) // 2)
        while piece and tries < TRIES:
            at, was = 0, len(request.body)
            while at < len(request.body) and tries < TRIES:
                candidate = replace(request, body=request.body[:at] + request.body[at + piece :])
                if fails(candidate):
                    request = candidate
                else:
                    at += piece
            if len(request.body) == was or piece > 1:
                piece = piece // 2 if piece > 1 else 0
        for header in request.headers:
            candidate = replace(request, headers=tuple(each for each in request.headers if each != header))
            request = candidate if fails(candidate) else request
        return request


def environ(request: Request) -> dict[str, Any]:
    """The WSGI environment of a request."""
    path = unquote_to_bytes(request.path).decode("latin-1")
    found: dict[str, Any] = {"REQUEST_METHOD": request.method, "SCRIPT_NAME": "", "QUERY_STRING": request.query}
    found |= {"PATH_INFO": path, "RAW_URI": request.path, "REQUEST_URI": request.path}
    found |= {"CONTENT_LENGTH": str(len(request.body)), "REMOTE_ADDR": "127.0.0.1"}
    found |= {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "9090", "SERVER_PROTOCOL": "HTTP/1.1"}
    found |= {"wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(request.body)}
    found |= {"wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False}
    found["wsgi.input_terminated"] = True
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        found[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return found


def _no_network() -> None:
    """Every name is unknown and every connection refused, at once."""

    def no_name(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "no network while fuzzing")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise ConnectionRefusedError("no network while fuzzing")

    socket.getaddrinfo = no_name
    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.socket.connect_ex = refuse  # type: ignore[method-assign]


@contextmanager
def target() -> Iterator[Target]:
    """The service with the classical models, ready, with a folder of its own for runs."""
    _no_network()
    # threads of the service may still write into the folder while it is removed
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = Settings(
            model="classical", runs_dir=Path(folder) / "runs", embeddings_dir=Path(folder) / "embeddings"
        )
        for each in (settings.runs_dir, settings.embeddings_dir):
            each.mkdir()  # type: ignore[union-attr]
        service = assemble(settings, store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": folder}))
        service.model.start()
        found = Target(create_app(service))
        logging.getLogger().addHandler(found.log)
        logging.getLogger().setLevel(logging.INFO)
        while found.ask(Request("GET", "/ready"))[0] != 200:
            time.sleep(0.01)
        yield found


def check_good_requests(found: Target) -> None:
    """The unchanged requests must be understood, or the mutated ones would test nothing."""
    for request in good_requests():
        status, problem = found.ask(request)
        needs_label_studio = request.path.startswith("/api/") or b"START_TRAINING" in request.body
        if problem or (status not in (200, 201) and not needs_label_studio):
            sys.exit(
                f"a good request failed: {request.method} {request.path}: {status} {problem}\n{request.body[:300]!r}"
            )


def _watch(found: Target, seed: int) -> None:
    while True:
        time.sleep(5)
        if time.monotonic() - found.since > HANGS_AFTER_S:
            print(f"FAILED: seed {seed}, request {found.number}: no answer after {HANGS_AFTER_S:g} s", flush=True)
            os._exit(1)


def fuzz(seed: int, first: int, count: int, step: int = 1) -> int:
    """Ask; print each kind of failure once, in its smallest form; gives the number of failures."""
    kinds: set[str] = set()
    failures = 0
    begin = time.monotonic()
    with target() as found:
        check_good_requests(found)
        threading.Thread(target=_watch, args=(found, seed), daemon=True).start()
        for number in range(first, first + count, step):
            found.number = number
            request = mutated(seed, number)
            status, problem = found.ask(request)
            found.statuses[status] += 1
            if problem is None:
                continue
            failures += 1
            kind = re.split(r"""[("']""", problem)[0]
            if kind in kinds:
                continue
            kinds.add(kind)
            again = found.ask(request)[1]
            small = found.smaller(request, again) if again else request
            print(f"FAILED: seed {seed}, request {number}: {problem}")
            print(f"  {small.method} {small.path[:300]}?{small.query[:300]} {small.headers}")
            print(
                f"  {small.body[:3000]!r}"
                + ("" if again else "\n  not again when asked alone: an earlier request matters")
            )
        took = time.monotonic() - begin
    done = len(range(first, first + count, step))
    each = {str(status): times for status, times in sorted(found.statuses.items())}
    print(
        json.dumps({"seed": seed, "requests": done, "seconds": round(took, 1), "failures": failures, "statuses": each})
    )
    return failures


def main() -> None:
    """As many processes as asked for, each with its share of the requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--step", type=int, default=1, help="every so many")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    if asked.processes == 1:
        sys.exit(1 if fuzz(asked.seed, asked.first, asked.count, asked.step) else 0)
    print(f"seed {asked.seed}", flush=True)
    shares = []
    for number in range(asked.processes):
        share = {"seed": asked.seed, "first": asked.first + number, "count": asked.count - number}
        share["step"] = asked.processes
        arguments = [f"--{name}={value}" for name, value in share.items()]
        shares.append([sys.executable, __file__, *arguments])
    running = [subprocess.Popen(share) for share in shares]
    sys.exit(max(process.wait() for process in running))


if __name__ == "__main__":
    main()
