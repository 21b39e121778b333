"""Loops over pixels, compiled by Numba."""

from typing import Any

from numba import njit


def compiled(*signatures: str) -> Any:
    """Decorator: compile for these types of arguments, without the GIL, and cache the result.

    A function is compiled when its module is first imported, which takes seconds; the machine code
    is then cached on disk.
    """
    return njit(list(signatures), cache=True, nogil=True, error_model="numpy")
