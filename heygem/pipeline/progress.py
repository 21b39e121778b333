"""Progress that stops cancelled work, the seconds that each stage takes, and each step's CPU."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from heygem.core.errors import Cancelled
from heygem.core.types import Progress

Item = TypeVar("Item")


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


class StepClock:
    """Processor time by step of the frames, measured in the threads that do them.

    What no step accounts for is that of the codecs' own threads, and of whatever else the process
    does meanwhile.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._began_s = time.process_time()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the thread's processor time in the block to a step."""
        began_s = time.thread_time()
        try:
            yield
        finally:
            self.add(name, time.thread_time() - began_s)

    def add(self, name: str, seconds: float) -> None:
        """Add processor time to a step; negative where another one has counted it too."""
        with self._lock:
            self._seconds[name] += seconds

    def each(self, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; the time in which each one is made counts as a step."""
        end = object()
        with contextlib.closing(items):  # type: ignore[type-var]
            while True:
                with self.step(name):
                    item = next(items, end)
                if item is end:
                    return
                yield item  # type: ignore[misc]

    def per_frame(self, frames: int) -> dict[str, float]:
        """Milliseconds of processor time for each frame, by step, the codecs' threads, and all."""
        total_s = time.process_time() - self._began_s
        seconds = dict(self._seconds)
        seconds |= {"codec_threads": total_s - sum(seconds.values()), "frame": total_s}
        return {
            f"{name}_cpu_ms": round(1000 * each / max(frames, 1), 3)
            for name, each in seconds.items()
        }
