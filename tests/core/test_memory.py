"""Memory of the process."""

import platform
import subprocess
import sys

import pytest

FREED_BEHIND_A_BLOCK = """
import psutil
from heygem.core.memory import release_unused

blocks = [bytearray(b"x" * 60_000) for _ in range(2000)]
last = blocks.pop()  # above the freed ones, which the C library therefore keeps
blocks.clear()
before = psutil.Process().memory_info().rss
release_unused()
print(before - psutil.Process().memory_info().rss)
"""


def test_what_was_freed_goes_back_to_the_system():
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    command = [sys.executable, "-c", FREED_BEHIND_A_BLOCK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 60e6, "of 120 MB"
