"""The download against a real server that breaks off, changes its file, lies, or is killed meanwhile."""

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam_model.weights import download as download_module
from sam_model.weights.download import Progress, content_length, download
from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError
from sam_testing.web_server import Answer, Asked, serving

CONTENT = bytes(range(256)) * 12_000  # 3 MB
TAG = '"version-1"'


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt.part"


def ranged(asked: Asked, content: bytes = CONTENT, tag: str = TAG) -> Answer:
    """What a good file server answers."""
    wanted = asked.headers.get("range")
    is_current = asked.headers.get("if-range", tag) == tag
    if wanted and is_current:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return Answer(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Answer(content[start:], 206, {"Content-Range": span, "ETag": tag})
    return Answer(content, 200, {"ETag": tag})


def cut_off_after(answer: Answer, length: int) -> Answer:
    """The same answer, whose connection breaks before its end."""
    assert isinstance(answer.body, bytes)
    return Answer(answer.body[:length], answer.status, {**answer.headers, "Content-Length": str(len(answer.body))})


def test_a_file_comes_whole_and_with_progress(part: Path) -> None:
    seen: list[Progress] = []

    with serving(ranged) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT), seen.append)

    assert part.read_bytes() == CONTENT
    assert seen[-1] == Progress("weights.pt", len(CONTENT), len(CONTENT))
    assert [progress.done for progress in seen] == sorted({progress.done for progress in seen})
    assert len(seen) >= 3


def test_a_broken_connection_is_gone_on_with_where_it_broke(part: Path) -> None:
    breaks = iter([1_000_000, 700_000])

    def answer(asked: Asked) -> Answer:
        length = next(breaks, None)
        return ranged(asked) if length is None else cut_off_after(ranged(asked), length)

    with serving(answer) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT
    assert [asked.headers.get("range") for asked in server.asked] == [None, "bytes=1000000-", "bytes=1700000-"]
    assert server.asked[1].headers["if-range"] == TAG


def test_a_part_of_another_version_is_thrown_away(part: Path) -> None:
    part.write_bytes(b"x" * 1000)
    part.with_name("weights.pt.part.validator").write_text('"version-0"')

    with serving(ranged) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT


def test_a_server_that_knows_no_parts_sends_the_whole_file_again(part: Path) -> None:
    part.write_bytes(CONTENT[:1000])

    with serving(lambda asked: Answer(CONTENT)) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT


def test_a_wrong_range_is_not_glued_on(part: Path) -> None:
    part.write_bytes(CONTENT[:1000])
    lies = iter([Answer(CONTENT[5:], 206, {"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"})])

    with serving(lambda asked: next(lies, None) or ranged(asked)) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT


def test_a_weak_mark_is_not_used(part: Path) -> None:
    breaks = iter([1_000_000])

    def answer(asked: Asked) -> Answer:
        length = next(breaks, None)
        answer = ranged(asked, tag='W/"weak"')
        return answer if length is None else cut_off_after(answer, length)

    with serving(answer) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT
    assert "if-range" not in server.asked[1].headers


def test_a_part_longer_than_the_file_is_thrown_away(part: Path) -> None:
    part.write_bytes(b"x" * (len(CONTENT) + 5))

    with serving(ranged) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT


def test_a_server_that_has_a_shorter_file_is_given_up(part: Path) -> None:
    part.write_bytes(CONTENT[:2000])

    with serving(lambda asked: ranged(asked, CONTENT[:1500])) as server, pytest.raises(WeightsUnavailableError):
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert len(server.asked) < 20


def test_a_server_that_sends_too_much_is_stopped(part: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(100_000)

    with serving(lambda asked: Answer(endless())) as server, pytest.raises(BrokenWeightsError, match="more than"):
        download(f"{server.url}/weights.pt", part, len(CONTENT))


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_said_at_once(part: Path, status: int) -> None:
    with (
        serving(lambda asked: Answer(b"no", status)) as server,
        pytest.raises(WeightsUnavailableError, match=f"/weights.pt: the server answered {status}"),
    ):
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert len(server.asked) == 1
    assert not part.exists()


def test_an_overloaded_server_is_asked_again(part: Path) -> None:
    busy = iter([Answer(b"", 503), Answer(b"", 429)])

    with serving(lambda asked: next(busy, None) or ranged(asked)) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT


def test_a_redirect_is_followed_with_the_range(part: Path) -> None:
    part.write_bytes(CONTENT[:1000])

    def answer(asked: Asked) -> Answer:
        return Answer(b"", 302, {"Location": "/elsewhere"}) if asked.path != "/elsewhere" else ranged(asked)

    with serving(answer) as server:
        download(f"{server.url}/weights.pt", part, len(CONTENT))

    assert part.read_bytes() == CONTENT
    assert server.asked[-1].headers["range"] == "bytes=1000-"


def test_a_token_goes_to_the_server_and_to_no_other_that_it_redirects_to(part: Path) -> None:
    with serving(ranged) as other:

        def redirect(asked: Asked) -> Answer:
            target = "/here.pt" if asked.path == "/weights.pt" else f"{other.url}/there.pt"
            return Answer(b"", 302, {"Location": target})

        with serving(redirect) as server:
            size = content_length(f"{server.url}/weights.pt", token="secret")
            download(f"{server.url}/weights.pt", part, size, token="secret")

    assert part.read_bytes() == CONTENT
    assert server.authorizations == ["Bearer secret"] * 4
    assert other.authorizations == [None, None]


def test_hugging_face_tells_the_size_of_a_file_whose_signed_address_allows_get_only(part: Path) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/old-name/weights.pt":
            return Answer(b"", 307, {"Location": "/weights.pt"})
        if asked.path == "/weights.pt":
            return Answer(b"", 302, {"Location": "/signed-for-get", "X-Linked-Size": str(len(CONTENT))})
        return ranged(asked) if asked.method == "GET" else Answer(b"", 403)

    with serving(answer) as server:
        size = content_length(f"{server.url}/old-name/weights.pt")
        download(f"{server.url}/old-name/weights.pt", part, size)

    assert part.read_bytes() == CONTENT


def test_redirects_in_a_circle_are_no_size() -> None:
    with (
        serving(lambda asked: Answer(b"", 302, {"Location": "/a" if asked.path == "/b" else "/b"})) as server,
        pytest.raises(WeightsUnavailableError, match="answered 302"),
    ):
        content_length(f"{server.url}/a")


def test_a_server_that_is_not_there_is_named(part: Path) -> None:
    with serving(ranged) as server:
        url = f"{server.url}/weights.pt"

    with pytest.raises(WeightsUnavailableError, match=f"could not download {url}"):
        download(url, part, len(CONTENT))


def test_a_proxy_is_asked_in_place_of_the_server(part: Path) -> None:
    with serving(ranged) as proxy:
        download("http://weights.invalid/weights.pt", part, len(CONTENT), proxies={"http": proxy.url})

    assert part.read_bytes() == CONTENT
    assert proxy.paths == ["http://weights.invalid/weights.pt"]


def test_what_a_killed_process_had_is_not_asked_for_again(part: Path) -> None:
    """The server stalls in the middle; the process is killed there; another one goes on."""

    def stalling(content: bytes) -> Iterator[bytes]:
        yield content[:2_200_000]
        time.sleep(60)

    is_first = iter([True])

    def answer(asked: Asked) -> Answer:
        if next(is_first, False):
            return Answer(stalling(CONTENT), 200, {"Content-Length": str(len(CONTENT)), "ETag": TAG})
        return ranged(asked)

    with serving(answer) as server:
        script = "import sys, pathlib; from sam_model.weights.download import download\n"
        script += "download(sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]))"
        url = f"{server.url}/weights.pt"
        process = subprocess.Popen([sys.executable, "-c", script, url, str(part), str(len(CONTENT))])
        wait_until(lambda: part.exists() and part.stat().st_size >= 2_000_000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        had = part.stat().st_size
        download(url, part, len(CONTENT))

    assert server.asked[1].headers["range"] == f"bytes={had}-"
    assert hashlib.sha256(part.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(6000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to be within a minute")
