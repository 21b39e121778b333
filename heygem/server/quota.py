"""Daily quota of each user, counted with a clock that users cannot set.

Setting the wall clock would reset a quota that is counted by it. Here a day is 24 hours of the
*ledger's own time*: between two admissions within one boot of the machine it advances with the
kernel's boot clock, which cannot be set; across a reboot with the wall clock, and never backward.
"""

import time
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from heygem.batch.queue.process import boot_id
from heygem.config.params import Settings
from heygem.core.errors import PolicyError
from heygem.provenance.ledger import Entry, Ledger

DAY_S = 24 * 3600.0


class QuotaSettings(Settings):
    """How much each user may have made within 24 hours."""

    videos_per_day: int = Field(40, ge=0, description="videos per user in 24 h")
    minutes_per_day: float = Field(
        60.0, ge=0, description="minutes of speech per user in 24 h [min]"
    )


def admit(
    ledger: Ledger,
    user: str,
    settings: QuotaSettings,
    *,
    videos: int,
    minutes: float,
    items: Sequence[str] = (),
) -> Entry:
    """Count a request against the quota, or refuse it as a whole.

    Parameters
    ----------
    ledger : heygem.provenance.ledger.Ledger
    user : str
    settings : QuotaSettings
    videos : int
    minutes : float
        Of speech, all videos together.
    items : list of str
        Digests of what is admitted, which the row names; see `heygem.server.admission`.

    Raises
    ------
    PolicyError
        Over the quota; the refusal is recorded.
    """
    allowed = {"videos": settings.videos_per_day, "minutes": settings.minutes_per_day}
    requested = {"videos": videos, "minutes": minutes}

    def row() -> dict[str, Any]:  # called while the ledger is locked
        rows, clock = ledger.entries(kind="admitted"), _clock()
        time_s = _now_s(rows, clock)
        used = _used(rows, user, time_s)
        for unit, most in allowed.items():
            if used[unit] + requested[unit] > most:
                raise PolicyError(
                    f"this is over your daily quota of {most:g} {unit}",
                    seen=f"{used[unit]:.3g} used in 24 hours, {requested[unit]:.3g} asked for",
                    remedy="ask for less, or wait",
                )
        return {"user": user, **requested, "items": list(items), "time_s": time_s, "clock": clock}

    try:
        return ledger.append("admitted", user, row)
    except PolicyError as refusal:
        ledger.append("refused", user, {"user": user, "reason": str(refusal)})
        raise


def usage(ledger: Ledger, user: str) -> dict[str, float]:
    """What a user requested in the last 24 hours: dict of `videos` and `minutes`."""
    rows = ledger.entries(kind="admitted")
    return _used(rows, user, _now_s(rows, _clock()))


def _now_s(rows: list[Entry], clock: dict[str, Any]) -> float:
    """The ledger's own time, seconds since the first admission."""
    if not rows:
        return 0.0
    last = rows[-1].body
    return last["time_s"] + _elapsed(last["clock"], clock)


def _clock() -> dict[str, Any]:
    """The current time by the wall clock and by the boot clock, which cannot be set."""
    boot = boot_id()
    # Not on Linux: the wall clock alone, which never goes back.
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME) if boot else 0.0
    return {"boot": boot, "up_s": round(up_s, 3), "wall_s": round(time.time(), 3)}


def _elapsed(before: dict[str, Any], now: dict[str, Any]) -> float:
    if before["boot"] and before["boot"] == now["boot"]:
        return max(0.0, now["up_s"] - before["up_s"])
    return max(0.0, now["wall_s"] - before["wall_s"])


def _used(rows: list[Entry], user: str, time_s: float) -> dict[str, float]:
    recent = [r.body for r in rows if r.subject == user and r.body["time_s"] > time_s - DAY_S]
    return {unit: sum(body[unit] for body in recent) for unit in ("videos", "minutes")}
