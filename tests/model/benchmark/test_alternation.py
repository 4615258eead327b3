import time

from sam_model.benchmark.alternation import Clock, Sample, alternated, seconds


def busy(seconds: float) -> float:
    """Use the processor for some time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return seconds


def test_sides_take_turns_and_ratios_are_of_the_first_side() -> None:
    turns: list[str] = []

    def side(name: str, duration: float) -> float:
        turns.append(name)
        return busy(duration)

    row, found = alternated({"slow": lambda: side("slow", 0.04), "fast": lambda: side("fast", 0.01)}, 2, 1)

    assert turns == ["slow", "fast"] * 3  # once for warm-up
    assert found == {"slow": 0.04, "fast": 0.01}
    assert row["rounds"] == 2
    assert "ratio" not in row["slow"]
    assert 3 < row["fast"]["cpu_ratio"] < 5


def test_time_within_stopped_does_not_count_and_a_part_is_extrapolated() -> None:
    clock = Clock()

    def once() -> None:
        busy(0.01)
        with clock.stopped():
            busy(0.1)

    (_, cpu), found = seconds(Sample(once, lambda: busy(0.01), times=5), clock)

    assert found is None
    assert 0.06 <= cpu < 0.1
