"""Settings that were left, to go back to and forth."""

import time
from collections.abc import Callable

from heygem.config.params import Params

MAX_STEPS = 100
REST_S = 1.0  # a control that moves again sooner is still on its way


class UndoStack:
    """The settings of a page, one step for each change that came to rest.

    Parameters
    ----------
    params : heygem.config.params.Params
        What the page begins with.
    clock : callable
        Returns seconds.
    """

    def __init__(self, params: Params, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._at = [params], 0
        self._clock, self._moved, self._moved_s = clock, "", 0.0

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier step."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a step was undone."""
        return self._at < len(self._steps) - 1

    def record(self, params: Params, *, moved: str = "") -> None:
        """Add a step; steps that were undone are forgotten.

        Parameters
        ----------
        params : heygem.config.params.Params
        moved : str
            The control that was moved. Its further movement within `REST_S` is the same step.
        """
        if params == self._steps[self._at]:
            return
        is_on_its_way = moved == self._moved != "" and self._clock() - self._moved_s < REST_S
        kept = self._at if is_on_its_way else self._at + 1
        self._steps = [*self._steps[:kept], params][-MAX_STEPS:]
        self._at = len(self._steps) - 1
        self._moved, self._moved_s = moved, self._clock()

    def undo(self) -> Params:
        """The settings before the last change; the same where there are none."""
        self._at, self._moved = max(0, self._at - 1), ""
        return self._steps[self._at]

    def redo(self) -> Params:
        """The settings that were undone last; the same where there are none."""
        self._at, self._moved = min(len(self._steps) - 1, self._at + 1), ""
        return self._steps[self._at]
