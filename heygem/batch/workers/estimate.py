"""How much of an item is done and how long the rest takes, over all of its stages.

Each stage has an expected time. What stages really took on this machine, in this item and those
before it, corrects the expectation for those that follow.
"""

import math
import time
from collections.abc import Callable
from typing import Any

SMOOTHING_S = 6.0  # time constant in which a displayed time left follows a changed estimate
#: Seconds of a stage: once, and for each second of speech; two idle cores, 720p. Only their
#: proportions matter: a machine's own speed is learnt from the first stage on.
EXPECTED_S = {
    "load models": (6.0, 0.0),
    "listen": (0.5, 0.2),
    "track": (0.3, 0.2),
    "render": (1.0, 1.2),
    "finish": (0.2, 0.02),
    "label": (0.7, 0.05),
    "figures": (2.0, 0.02),
    "verify": (0.3, 0.06),
    "MLflow": (1.5, 0.0),
}
_UNKNOWN_S = 5.0  # length of speech that nobody has measured yet
_LEAST_PART = 0.05  # of a stage that takes longer than expected and counts no steps
_RATIOS = (0.1, 20.0)  # of measured to expected time


class SmoothedTimeLeft:
    """A time left that runs down like a clock and follows a changed estimate without a jump.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left_s: float | None = None
        self._at_s = 0.0

    def update(self, estimate_s: float) -> float:
        """The time to display [s], after an estimate made now."""
        now_s = self._clock()
        if self._left_s is None:
            self._left_s = estimate_s
        else:
            passed_s = max(0.0, now_s - self._at_s)
            expected_s = max(0.0, self._left_s - passed_s)
            weight = 1 - math.exp(-passed_s / SMOOTHING_S)
            self._left_s = expected_s + weight * (estimate_s - expected_s)
        self._at_s = now_s
        return self._left_s

    def restart(self) -> None:
        """Begin anew: what is estimated from now on is something else."""
        self._left_s = None


class StageRates:
    """What stages took, as a multiple of what was expected; kept from item to item."""

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}

    def expected_s(self, stage: str, length_s: float) -> float:
        """Time that a stage of an item with so much speech will take."""
        once_s, each_s = EXPECTED_S.get(stage, (1.0, 0.0))
        return self._ratio(stage) * (once_s + each_s * (length_s or _UNKNOWN_S))

    def record(self, stage: str, length_s: float, seconds: float) -> None:
        """Learn from a stage that has ended."""
        once_s, each_s = EXPECTED_S.get(stage, (1.0, 0.0))
        ratio = seconds / (once_s + each_s * (length_s or _UNKNOWN_S))
        ratio = min(max(ratio, _RATIOS[0]), _RATIOS[1])
        self._ratios[stage] = 0.5 * (self._ratios.get(stage, ratio) + ratio)

    @property
    def are_measured(self) -> bool:
        """Whether any stage has ended yet."""
        return bool(self._ratios)

    def _ratio(self, stage: str) -> float:
        if stage in self._ratios:
            return self._ratios[stage]
        known = list(self._ratios.values())
        if not known:
            return 1.0
        return math.exp(sum(map(math.log, known)) / len(known))  # the machine's own speed


class ItemEstimate:
    """Follows the stages of one item.

    Parameters
    ----------
    rates : StageRates
    length_s : float
        Of the speech; 0 where unknown.
    has_models : bool
        Whether the models are in memory already.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        rates: StageRates,
        length_s: float,
        *,
        has_models: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates, self._length_s, self._clock = rates, length_s, clock
        self._pending = [name for name in EXPECTED_S if not (has_models and name == "load models")]
        self._began_s = self._stage_began_s = self._shown_s = clock()
        self._stage, self._done, self._total = "", 0, 0
        self._fraction = 0.0
        self._time_left = SmoothedTimeLeft(clock)

    def report(self, stage: str, done: int, total: int) -> None:
        """Take what a stage says of itself."""
        if stage != self._stage:
            self._end_stage()
            self._stage, self._stage_began_s = stage, self._clock()
            if stage in self._pending:  # those before it were not needed
                self._pending = self._pending[self._pending.index(stage) + 1 :]
        self._done, self._total = done, total

    def progress(self) -> dict[str, Any]:
        """What the queue shows: stage, done, total, elapsed_s; fraction and left_s of all."""
        now_s = self._clock()
        elapsed_s = now_s - self._began_s
        rest_s = sum(self._rates.expected_s(stage, self._length_s) for stage in self._pending)
        if not self._rates.are_measured:
            rest_s *= self._slowness()
        left_s = self._time_left.update(self._stage_left_s() + rest_s)
        # It moves on at the pace that fills it at the end: never back, and never to a standstill.
        passed_s, self._shown_s = now_s - self._shown_s, now_s
        self._fraction += (1 - self._fraction) * passed_s / max(passed_s + left_s, 1e-6)
        return {
            "stage": self._stage,
            "done": self._done,
            "total": self._total,
            "left_s": round(left_s, 1),
            "elapsed_s": round(elapsed_s, 1),
            "fraction": round(min(self._fraction, 0.99), 4),
        }

    def _slowness(self) -> float:
        """By how much the first stage of all takes longer than expected, at least 1."""
        spent_s = self._clock() - self._stage_began_s
        return max(1.0, spent_s / self._rates.expected_s(self._stage, self._length_s))

    def _stage_left_s(self) -> float:
        if not self._stage:
            return 0.0
        spent_s = self._clock() - self._stage_began_s
        expected_s = self._rates.expected_s(self._stage, self._length_s)
        if self._total <= 1:  # it counts no steps
            is_over = self._total > 0 and self._done >= self._total
            return 0.0 if is_over else max(expected_s - spent_s, _LEAST_PART * expected_s)
        part = min(self._done / self._total, 1.0)
        # Its own pace counts more, the longer it has been seen.
        weight = min(1.0, 4 * part)
        measured_s = spent_s / part if part else expected_s
        return (weight * measured_s + (1 - weight) * expected_s) * (1 - part)

    def _end_stage(self) -> None:
        if self._stage:
            self._rates.record(self._stage, self._length_s, self._clock() - self._stage_began_s)

    def end(self) -> None:
        """Learn from the last stage."""
        self._end_stage()
        self._stage = ""
