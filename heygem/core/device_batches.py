"""Frames computed on a device, as many at once as its memory holds."""

import logging
from collections.abc import Callable

import torch

log = logging.getLogger(__name__)


class DeviceBatches:
    """Memory that runs out on a device halves a batch; then the device is given up.

    Parameters
    ----------
    device : torch.device
    note : str, optional
        Of an earlier device.

    Attributes
    ----------
    note : str or None
        What a report should say; None where memory has sufficed.
    """

    def __init__(self, device: torch.device, *, note: str | None = None) -> None:
        self._device = device
        self._largest: int | None = None  # frames at once, once memory ran out
        self.note = note

    def run(self, count: int, at_once: int, compute: Callable[[slice], None]) -> int:
        """Compute frames 0 to `count`, in order.

        Parameters
        ----------
        count : int
        at_once : int
            Largest batch.
        compute : callable
            Called with a slice of the frames.

        Returns
        -------
        int
            How many were computed; the rest is for the CPU.
        """
        done = 0
        while done < count:
            size = min(at_once, count - done)
            if self._largest is not None:
                size = min(size, self._largest)
            if size == 0:
                break
            try:
                compute(slice(done, done + size))
            except torch.OutOfMemoryError:
                self.shrink(size)
            else:
                done += size
        return done

    def shrink(self, size: int) -> None:
        """A batch of so many frames did not fit: compute at most half as many from now on."""
        self._largest = size // 2
        then = f"at most {self._largest} at once" if self._largest else "the CPU does the rest"
        self.note = f"memory of {self._device} ran out for {size} frames at once: {then}"
        log.warning("%s", self.note)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
