"""Three slots to keep a setting in, with its picture and a note."""

from dataclasses import dataclass, replace

from heygem.core.errors import InputError, ParameterError

SLOTS = ("A", "B", "C")


@dataclass(frozen=True)
class Snapshot:
    """Knobs, the clip they gave (if one was rendered), and what somebody thought of it."""

    params: object
    clip: object
    note: str = ""


class Snapshots:
    """The slots.

    Parameters
    ----------
    session : heygem.studio.session.Session
        Told which clips must stay on disk.
    """

    def __init__(self, session):
        self._bench = session
        self._kept = {}

    def __contains__(self, slot):
        return slot in self._kept

    def keep(self, slot, params, clip, note=""):
        """Fill a slot; what was in it is forgotten."""
        if slot not in SLOTS:
            raise ParameterError("no such slot", seen=slot, remedy=f"use one of {SLOTS}")
        if clip is not None and clip.params != params:
            clip = None  # the picture of other knobs would mislead
        self._kept[slot] = Snapshot(params, clip, note)
        used = [s.clip for s in self._kept.values() if s.clip is not None]
        self._bench.pinned = {path for c in used for path in (c.result, c.source)}
        return self._kept[slot]

    def recall(self, slot):
        """What is in a slot."""
        if slot not in self._kept:
            raise InputError(f"slot {slot} is empty", remedy="keep something in it first")
        return self._kept[slot]

    def noted(self, params):
        """What somebody wrote of these knobs, in whatever slot they are kept; else nothing."""
        return next((kept.note for kept in self._kept.values() if kept.params == params), "")

    def note(self, slot, text):
        """Change the note of a filled slot."""
        if slot in self._kept:
            self._kept[slot] = replace(self._kept[slot], note=text)
