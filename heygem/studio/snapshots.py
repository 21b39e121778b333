"""Three slots that each hold a setting, the clip rendered with it, and a note."""

from dataclasses import dataclass, replace

from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError
from heygem.studio.clip import Clip
from heygem.studio.session import Session

SLOTS = ("A", "B", "C")


@dataclass(frozen=True)
class Snapshot:
    """Settings, the clip rendered with them (None without one), and the user's note."""

    params: Params
    clip: Clip | None
    note: str = ""


class Snapshots:
    """The slots; clips in them stay on disk.

    Parameters
    ----------
    session : heygem.studio.session.Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._snapshots: dict[str, Snapshot] = {}

    def __contains__(self, slot: str) -> bool:
        return slot in self._snapshots

    def save(self, slot: str, params: Params, clip: Clip | None, note: str = "") -> Snapshot:
        """Fill a slot and replace what was in it; a clip of other settings is left out."""
        if slot not in SLOTS:
            raise ParameterError("no such slot", seen=slot, remedy=f"use one of {SLOTS}")
        if clip is not None and clip.params != params:
            clip = None
        self._snapshots[slot] = Snapshot(params, clip, note)
        clips = [s.clip for s in self._snapshots.values() if s.clip is not None]
        self._session.pinned = {path for c in clips for path in (c.result, c.source)}
        return self._snapshots[slot]

    def get(self, slot: str) -> Snapshot:
        """Content of a slot.

        Raises
        ------
        InputError
            The slot is empty.
        """
        if slot not in self._snapshots:
            raise InputError(f"slot {slot} is empty", remedy="save a snapshot in it first")
        return self._snapshots[slot]

    def note_for(self, params: Params) -> str:
        """Note of the first slot with these settings; empty without one."""
        return next((s.note for s in self._snapshots.values() if s.params == params), "")

    def set_note(self, slot: str, note: str) -> None:
        """Change the note of a slot; nothing happens where it is empty."""
        if slot in self._snapshots:
            self._snapshots[slot] = replace(self._snapshots[slot], note=note)
