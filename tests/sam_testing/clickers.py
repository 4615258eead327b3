"""Many concurrent clients that click, in a process of their own: `python -m sam_testing.clickers`.

Reads {"port", "body", "clickers", "seconds"} from standard input and writes [[status, seconds], …] to standard output.
A click that is refused waits `pause_s` and goes on with the next one; status 0 is a connection that broke.
"""

import asyncio
import json
import subprocess
import sys
import time
from typing import Any


async def click(port: int, body: bytes) -> tuple[int, float]:
    """POST one click on a new connection; give status and seconds."""
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /predict HTTP/1.1\r\nHost: backend\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        is_whole = b"\r\n\r\n" in answer
        return int(answer.split(b" ", 2)[1]) if is_whole else 0, time.monotonic() - began
    except OSError:
        return 0, time.monotonic() - began


async def click_for(port: int, body: bytes, clickers: int, seconds: float, pause_s: float) -> list[tuple[int, float]]:
    """Run `clickers` concurrent clients; each sends one click after the other until the time is over."""
    answers: list[tuple[int, float]] = []
    end = time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < end:
            answers.append(await click(port, body))
            await asyncio.sleep(pause_s if answers[-1][0] != 200 else 0)

    await asyncio.gather(*(one() for _ in range(clickers)))
    return answers


class Clickers:
    """A running process of clickers."""

    def __init__(self, port: int, body: object, clickers: int, seconds: float, pause_s: float = 0.5) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sam_testing.clickers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        asked = {"port": port, "body": body, "clickers": clickers, "seconds": seconds, "pause_s": pause_s}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked))
        self._process.stdin.close()
        self._process.stdin = None

    def answers(self) -> list[tuple[int, float]]:
        """Wait until all clicks are answered; return status and seconds of each."""
        output, _ = self._process.communicate(timeout=300)
        return [(status, seconds) for status, seconds in json.loads(output)]


def main() -> None:
    """Click as the JSON on standard input describes."""
    asked: dict[str, Any] = json.load(sys.stdin)
    body = json.dumps(asked.pop("body")).encode()
    json.dump(asyncio.run(click_for(body=body, **asked)), sys.stdout)


if __name__ == "__main__":
    main()
