"""Progress that stops cancelled work, and the seconds that each stage takes."""

import threading
import time
from dataclasses import dataclass, field

from heygem.core.errors import Cancelled
from heygem.core.types import Progress


def cancellable(progress: Progress | None, cancel: threading.Event | None) -> Progress:
    """Progress that also stops the work when it was cancelled."""

    def report_progress(stage: str, done: int, total: int, /) -> None:
        if cancel is not None and cancel.is_set():
            raise Cancelled("stopped on request", remedy="run it again to make it")
        if progress is not None:
            progress(stage, done, total)

    return report_progress


@dataclass
class StageClock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.seconds[f"{stage}_s"] = now - self._last
        self._last = now

    def timings(self, duration_s: float) -> dict[str, float]:
        """Seconds by stage, and all of them per second of video."""
        total = sum(self.seconds.values())
        named = self.seconds | {"seconds_per_second": total / max(duration_s, 1e-6)}
        return {name: round(value, 3) for name, value in named.items()}
