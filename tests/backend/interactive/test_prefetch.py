import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sam_backend.errors import ImageNotFoundError
from sam_backend.images.fetch import FetchLimits, ImageFetcher
from sam_backend.interactive.prefetch import MAX_THREADS_PER_ORIGIN, MAX_WAITING, Prefetcher, PrefetchJob
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.label_studio import predict_request
from sam_testing.service import SamService, png_image
from sam_testing.web_server import Answer, serving


def job(embed: Callable[[], object], origin: str = "", fetch: Callable[[], object] = lambda: None) -> PrefetchJob:
    return PrefetchJob("task 1", origin, fetch, lambda _: embed())


def test_the_newest_job_goes_first_and_the_oldest_are_dropped() -> None:
    prefetcher = Prefetcher()
    go_on, last = threading.Event(), threading.Event()
    started = threading.Semaphore(0)
    done: list[str] = []
    for number in range(MAX_THREADS_PER_ORIGIN):
        prefetcher.submit(number, job(lambda: None, fetch=lambda: (started.release(), go_on.wait(timeout=10))))
    for _ in range(MAX_THREADS_PER_ORIGIN):
        started.acquire(timeout=10)
    single = threading.Lock()

    names = [f"task {i}" for i in range(MAX_WAITING + 2)]
    for name in names:

        def note(name: str = name) -> None:
            with single:
                done.append(name)
                if len(done) == MAX_WAITING:
                    last.set()

        prefetcher.submit(name, job(lambda: None, fetch=note))
    go_on.set()

    assert last.wait(timeout=10)
    assert set(done) == set(names[2:])
    assert names.index(done[0]) >= len(names) - MAX_THREADS_PER_ORIGIN  # two workers may overtake each other


@pytest.mark.parametrize("attempt", range(10))  # an idle thread might take any job that it finds
def test_of_several_jobs_the_last_ones_go_first_also_while_threads_are_idle(attempt: int) -> None:
    prefetcher = Prefetcher()
    embedded: list[int] = []
    is_idle, done = threading.Event(), threading.Semaphore(0)
    prefetcher.submit("first", job(is_idle.set))
    assert is_idle.wait(timeout=10)
    fetched = threading.Barrier(MAX_THREADS_PER_ORIGIN)  # both threads have their image before one embeds

    def note(number: int) -> Callable[[], object]:
        return lambda: (embedded.append(number), done.release())

    jobs = [(number, job(note(number), fetch=lambda: fetched.wait(10))) for number in range(4)]
    prefetcher.submit_all(jobs)
    for _ in jobs:
        assert done.acquire(timeout=10)

    assert ({*embedded[:2]}, {*embedded[2:]}) == ({2, 3}, {0, 1})


def test_a_job_that_waits_is_not_added_twice() -> None:
    prefetcher = Prefetcher()
    go_on, done = threading.Event(), threading.Event()
    busy = threading.Barrier(MAX_THREADS_PER_ORIGIN + 1)
    runs: list[int] = []

    def wait() -> None:
        busy.wait(timeout=10)
        go_on.wait(timeout=10)

    for number in range(MAX_THREADS_PER_ORIGIN):
        prefetcher.submit(number, job(lambda: None, fetch=wait))
    busy.wait(timeout=10)

    for number in range(3):
        prefetcher.submit("same", job(lambda number=number: (runs.append(number), done.set())))
    go_on.set()

    assert done.wait(timeout=10)
    assert runs == [2]


def test_one_embeds_at_a_time_while_others_fetch() -> None:
    prefetcher = Prefetcher()
    embedding, go_on, fetched = threading.Event(), threading.Event(), threading.Event()
    at_once: list[int] = []
    busy = threading.Semaphore(1)

    def embed() -> None:
        at_once.append(busy.acquire(blocking=False))
        embedding.set()
        go_on.wait(timeout=10)
        busy.release()

    prefetcher.submit("one", job(embed, "http://a"))
    assert embedding.wait(timeout=10)
    prefetcher.submit("two", job(embed, "http://b", fetched.set))

    assert fetched.wait(timeout=10)
    assert at_once == [True]
    go_on.set()


def test_a_job_that_fails_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    prefetcher = Prefetcher()
    failed, crashed, done = threading.Event(), threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise ImageNotFoundError("gone")

    def crash() -> None:
        crashed.set()
        raise ZeroDivisionError

    for _ in range(3):  # more than the workers that an origin may have
        for name, embed, happened in (("bad", fail, failed), ("worse", crash, crashed), ("good", done.set, done)):
            prefetcher.submit(name, PrefetchJob(name, "", lambda: None, lambda _, embed=embed: embed()))
            assert happened.wait(timeout=10)
            happened.clear()

    assert "could not prefetch bad: gone" in caplog.text
    assert "could not prefetch worse" in caplog.text


@contextmanager
def dripping() -> Iterator[tuple[str, threading.Event]]:
    """A web server that never ends its answer; its address, and an event that is set when it was asked."""
    over, asked = threading.Event(), threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            asked.set()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            try:
                while not over.wait(0.05):
                    connection.sendall(b".")
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.mark.parametrize("servers", [1, 9])
def test_nine_tasks_on_dripping_servers_do_not_hold_up_the_tenth(servers: int) -> None:
    from contextlib import ExitStack

    with ExitStack() as stack:
        drips = [stack.enter_context(dripping()) for _ in range(servers)]
        honest = stack.enter_context(serving(lambda asked: Answer(png_image())))
        limits = FetchLimits(timeout_s=60, allow_private_addresses=True)
        service = SamService(fetcher=ImageFetcher(LabelStudioCredentials(None, None), limits))
        for number in range(9):
            address = f"{drips[number % servers][0]}/{number}.png"
            service.client.post("/predict", json=predict_request(data={"image": address}, task_id=number + 1))
        for _, asked in drips:
            assert asked.wait(10)
        embedded = threading.Event()
        embed = service.segmenter.embed
        service.segmenter.embed = lambda image: (embed(image), embedded.set())[0]  # type: ignore[method-assign]

        service.client.post("/predict", json=predict_request(data={"image": f"{honest.url}/a.png"}, task_id=10))

        assert embedded.wait(20)  # a dripping server is cut off after 60 s
