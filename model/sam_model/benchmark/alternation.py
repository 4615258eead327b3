"""Programs that take turns: other work on the machine slows all of them, so that their ratios can be trusted."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLOW_S = 4.0  # work of which one program takes longer is repeated `slow_rounds` times
VERY_SLOW_S = 20.0  # work of which one program takes longer has no warm-up: its first turns count

Row = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """A work of which a part is measured: the time is that of `once`, and `times` that of `part`."""

    once: Callable[[], Any]
    part: Callable[[], Any]
    times: float


Work = Callable[[], Any] | Sample


class Clock:
    """The seconds by the clock and of all processors, without those spent within `stopped`."""

    def __init__(self) -> None:
        self._left_out = np.zeros(2)

    def now(self) -> NDArray[np.float64]:
        """Return both."""
        now: NDArray[np.float64] = np.array([time.perf_counter(), time.process_time()]) - self._left_out
        return now

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave out the time within."""
        began = self.now()
        yield
        self._left_out += self.now() - began


def alternated(
    sides: Mapping[str, Work], rounds: int, slow_rounds: int, clock: Clock | None = None
) -> tuple[Row, dict[str, Any]]:
    """Run the sides in turns; return the measurements, and what each side returned last.

    The measurements are, of each side, median and shortest time in ms; of each after the first, how many times as fast
    it is: the median and the range of neighbours' ratios, that of the shortest times, and that of processor time.

    Args:
        sides: at least two, by name.
        rounds: turns of each side after the warm-up.
        slow_rounds: the same if a side takes longer than `SLOW_S`.
        clock: None for one that leaves nothing out.
    """
    clock = clock or Clock()
    first = [seconds(work, clock) for work in sides.values()]
    slowest = max(time_and_cpu[0] for time_and_cpu, _ in first)
    count = slow_rounds if slowest > SLOW_S else rounds
    measured, found = np.zeros((count, len(sides), 2)), dict.fromkeys(sides)
    for turn in range(count):
        for place, (name, work) in enumerate(sides.items()):
            is_done = turn == 0 and slowest > VERY_SLOW_S
            measured[turn, place], found[name] = first[place] if is_done else seconds(work, clock)
    times, cpu = measured[..., 0], measured[..., 1].min(axis=0)
    row: Row = {"rounds": count}
    for place, name in enumerate(sides):
        mine = 1e3 * times[:, place]
        row[name] = {"median_ms": round(float(np.median(mine)), 1), "min_ms": round(float(mine.min()), 1)}
        if place:
            ratios = times[:, 0] / times[:, place]
            row[name] |= {"ratio": rounded(np.median(ratios)), "range": [rounded(ratios.min()), rounded(ratios.max())]}
            row[name]["ratio_of_minima"] = rounded(times[:, 0].min() / times[:, place].min())
            row[name]["cpu_ratio"] = rounded(cpu[0] / cpu[place])
    return row, found


def seconds(work: Work, clock: Clock) -> tuple[NDArray[np.float64], Any]:
    """Return the seconds that a work takes, by the clock and of all processors together, and what it returns."""
    if isinstance(work, Sample):
        return seconds(work.once, clock)[0] + work.times * seconds(work.part, clock)[0], None
    began = clock.now()
    found = work()
    return clock.now() - began, found


def rounded(value: Any) -> float:
    """Return a number with two decimal places."""
    return round(float(value), 2)
