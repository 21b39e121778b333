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

HEAPS_OF_THREADS = """
import ctypes
import threading
from heygem.core.memory import limit_arenas

limit_arenas()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(8)

def work():
    together.wait()
    libc.malloc(ctypes.c_size_t(20_000))
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
"""


def test_threads_share_two_heaps():
    assert 1 <= _output_of(HEAPS_OF_THREADS).count("<heap nr=") <= 2


def test_what_was_freed_goes_back_to_the_system():
    assert int(_output_of(FREED_BEHIND_A_BLOCK)) > 60e6, "of 120 MB"


def _output_of(program):
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
