"""Checks of weights that come from a file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from heygem.core.errors import AssetError


def require_finite(tensors: Mapping[str, Any], name: str, *, remedy: str) -> None:
    """Refuse weights that are no numbers: one NaN would blacken every picture, or freeze a mouth.

    Parameters
    ----------
    tensors : mapping of str to array
        Arrays of NumPy, or tensors on the CPU.
    name : str
        Of the file, for the message.
    remedy : str

    Raises
    ------
    AssetError
        One holds NaN or infinity, or anything but floating-point numbers.
    """
    for key, tensor in tensors.items():
        values = np.asarray(tensor)
        if not np.issubdtype(values.dtype, np.floating):
            raise AssetError(
                f"{name}: {key} should hold floating-point numbers",
                seen=values.dtype,
                remedy=remedy,
            )
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise AssetError(
                f"{name}: {key} holds values that are not numbers",
                seen=f"{bad} of {values.size} are NaN or infinite",
                remedy=remedy,
            )
