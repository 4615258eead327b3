"""Split of a data set's tasks into training, validation and test."""

import hashlib
from dataclasses import dataclass

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class TaskSplit:
    """Shares of the splits, and the seed that decides which tasks go where.

    A task's split depends on its id and the seed only: tasks that are added later move no other task.
    """

    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of SPLITS; the sum is 1
    seed: int = 0

    def split_of(self, task: int) -> str:
        """Return the split of a task; all pages of a task are in the same one."""
        digest = hashlib.sha256(f"{self.seed}:{task}".encode()).digest()
        position, end = int.from_bytes(digest[:8]) / 2**64, 0.0
        for split, share in zip(SPLITS, self.shares, strict=True):
            end += share
            if position < end:
                return split
        return next(split for split, share in zip(reversed(SPLITS), reversed(self.shares), strict=True) if share)


def task_split(text: str, seed: int) -> TaskSplit:
    """Parse shares such as `80,10,10` (train, val, test); they are scaled to the sum 1.

    Raises:
        ValueError: the text is not three numbers from 0 on with a positive sum.
    """
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if len(given) != len(SPLITS) or min(given) < 0 or not 0 < sum(given) < float("inf"):
        raise ValueError(f"--split {text} is not three shares for {', '.join(SPLITS)}, such as 80,10,10")
    train, val, test = (share / sum(given) for share in given)
    return TaskSplit((train, val, test), seed)
