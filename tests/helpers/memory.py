"""How much memory a part of a test takes."""

import contextlib
from pathlib import Path

import pytest


class _Peak:
    """`added_mb`: the highest memory in the block over that at its beginning [MB]."""

    added_mb = 0.0


@contextlib.contextmanager
def peak_memory():
    """The peak of this process's resident memory in the block; skipped where Linux lacks it."""
    peak = _Peak()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
    except OSError:
        pytest.skip("no peak of memory can be measured here")
    before = _status("VmRSS")
    yield peak
    peak.added_mb = _status("VmHWM") - before


def _status(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)
