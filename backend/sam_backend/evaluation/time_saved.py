"""An open estimate of the seconds that a run saved: numbers of outcomes times assumed seconds per action.

The assumptions are in the report. They are for masks: about 14 s for one that is made with clicks (Kirillov et al.,
"Segment Anything", arXiv:2304.02643, section 4), a few seconds to look at a prediction, and half the time of a new mask
to correct one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sam_backend.evaluation.matching import ACCEPTED, CORRECTED, DELETED, RELABELED


@dataclass(frozen=True)
class ActionSeconds:
    """Assumed seconds of a person's actions."""

    draw: float = 14.0
    accept: float = 2.0
    correct: float = 7.0
    relabel: float = 4.0
    delete: float = 3.0

    def to_json(self) -> dict[str, float]:
        """Return the assumptions as JSON."""
        return asdict(self)


def seconds_saved(outcomes: Mapping[str, int], seconds: ActionSeconds) -> float:
    """Return the seconds that drawing the kept objects would have taken, less those that the predictions took."""
    count = Counter(outcomes)
    kept = count[ACCEPTED] + count[CORRECTED] + count[RELABELED]
    spent = (
        count[ACCEPTED] * seconds.accept
        + count[CORRECTED] * seconds.correct
        + count[RELABELED] * seconds.relabel
        + count[DELETED] * seconds.delete
    )
    return kept * seconds.draw - spent
