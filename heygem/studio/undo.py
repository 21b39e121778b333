"""Settings that were left, to go back to and forth."""

from heygem.config.params import Params

MAX_STEPS = 100


class UndoStack:
    """The settings of a page, one step for each change that came to rest.

    Parameters
    ----------
    params : heygem.config.params.Params
        What the page begins with.
    """

    def __init__(self, params: Params) -> None:
        self._steps, self._at = [params], 0

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier step."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a step was undone."""
        return self._at < len(self._steps) - 1

    def record(self, params: Params) -> None:
        """Add a step; steps that were undone are forgotten."""
        if params == self._steps[self._at]:
            return
        self._steps = [*self._steps[: self._at + 1], params][-MAX_STEPS:]
        self._at = len(self._steps) - 1

    def undo(self) -> Params:
        """The settings before the last change; the same where there are none."""
        self._at = max(0, self._at - 1)
        return self._steps[self._at]

    def redo(self) -> Params:
        """The settings that were undone last; the same where there are none."""
        self._at = min(len(self._steps) - 1, self._at + 1)
        return self._steps[self._at]
