"""A warm click over HTTP beside the published path: set_image, predict and mask2rle.

MobileSAM with the same seeded weights, images of 12 megapixels, one positive point, and both send brush RLE as JSON.
Theirs is `published_backend.py`, in the environment of the parity tests, with the image in a local file; ours is
`label-studio-sam serve` with SAM_RUNTIME=auto and its networks converted, with the image from a web server. They take
turns. Theirs keeps the image of the last click; so it is measured with another image at each click (two annotators, or
one who goes back) and with the same image. Ours keeps the embeddings of both images.
"""

import json
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from label_studio_sdk.converter import brush

from benchmarks.click_latency import HEIGHT, WIDTH, photograph
from benchmarks.start import arguments, service, wait_for_conversion, wait_until_ready
from sam_backend.demo.child_process import free_port
from sam_testing.backend_program import BackendProgram
from sam_testing.label_studio import BRUSH_CONFIG, key_point, predict_request
from sam_testing.web_server import Answer, serving

ROOT = Path(__file__).parents[2]
WARM_UP = 2
MODEL = "mobile_sam"


def click_ms(port: int, image: str, number: int) -> float:
    """Click, and return the milliseconds until the answer is read."""
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    point = key_point(10 + number * 7 % 80, 10 + number * 13 % 80, **size)
    body = json.dumps(predict_request([point], BRUSH_CONFIG, {"image": image})).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=300) as answer:
        found = answer.read()
    took = 1e3 * (time.perf_counter() - began)
    assert b'"rle"' in found
    return took


def compared(ours: int, theirs: int, urls: list[str], files: list[str], rounds: int) -> dict[str, Any]:
    """Click in turns on the images, one after the other; return medians, minima and their ratios."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds + WARM_UP):
        took = {
            "ours": click_ms(ours, urls[number % len(urls)], number),
            "theirs": click_ms(theirs, files[number % len(files)], number),
        }
        if number >= WARM_UP:
            for name, each in took.items():
                times[name].append(each)
    median = {name: statistics.median(each) for name, each in times.items()}
    least = {name: min(each) for name, each in times.items()}
    return {
        **{f"{name}_ms": [round(median[name], 1), round(least[name], 1)] for name in times},
        "ratio": [round(median["theirs"] / median["ours"], 1), round(least["theirs"] / least["ours"], 1)],
    }


def main() -> None:
    """Measure; print a table and one line of JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-parity" / "bin" / "python"))
    asked = parser.parse_args()
    images = {f"/{number}.jpg": photograph(number) for number in range(2)}
    headers = {"ETag": '"1"', "Content-Type": "image/jpeg"}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(lambda asked: Answer(images[asked.path], headers=headers)) as web,
        service(BackendProgram, MODEL, asked.folder, SAM_ALLOW_PRIVATE_ADDRESSES="true") as (backend, checkpoint),
    ):
        files = []
        for path, content in images.items():
            files.append(f"{folder}{path}")
            Path(files[-1]).write_bytes(content)
        urls = [f"{web.url}{path}" for path in images]
        port = free_port(0)
        peer_file = str(ROOT / "tests" / "benchmarks" / "published_backend.py")
        peer = subprocess.Popen([asked.peer_python, peer_file, str(checkpoint), brush.__file__, str(port)])
        try:
            wait_until_ready(backend)
            click_ms(backend.port, urls[0], 1)
            wait_for_conversion(backend)
            found = {
                "other_image": compared(backend.port, port, urls, files, asked.rounds),
                "same_image": compared(backend.port, port, urls[:1], files[:1], asked.rounds),
            }
        finally:
            peer.terminate()
            peer.wait()
    for name, row in found.items():
        print(name, row)
    print(json.dumps({"benchmark": "published_path", "rounds": asked.rounds, **found}))


if __name__ == "__main__":
    main()
