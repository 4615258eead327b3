import threading
from collections.abc import Sequence

import numpy as np

from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_model.types import Image, Prompt, ScoredMask
from sam_testing.disc_segmenter import DiscSegmenter


class CountingSegmenter(DiscSegmenter):
    """Notes how many threads were inside `segment` at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.most = 0, 0
        self.lock = threading.Lock()
        self.two_are_inside = threading.Barrier(2)

    def segment(self, embedding: object, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.two_are_inside.wait(10)
        with self.lock:
            self.inside -= 1
        return []


def test_no_more_threads_compute_than_allowed() -> None:
    image: Image = np.zeros((2, 3, 3), dtype=np.uint8)
    counting = CountingSegmenter()
    limited = LimitedSegmenter(counting, max_threads=2)
    embedding = limited.embed(image)

    threads = [threading.Thread(target=limited.segment, args=(embedding, [])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert counting.most == 2


def test_name_and_fingerprint_are_the_segmenters() -> None:
    segmenter = DiscSegmenter()
    limited = LimitedSegmenter(segmenter)

    assert (limited.name, limited.fingerprint) == (segmenter.name, segmenter.fingerprint)
