"""The state of this machine: processor, memory, disks, GPUs."""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from heygem.core import disk
from heygem.core.folders import home
from heygem.provenance import ledger

_QUERY = "index,name,utilization.gpu,memory.used,memory.total,temperature.gpu"
_TIMEOUT_S = 5.0  # of a driver that hangs


@dataclass(frozen=True)
class Disk:
    """A place that heygem writes to: what it is for, its folder, and bytes of its disk."""

    place: str
    folder: Path
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver describes it; utilization 0..1, memory in bytes."""

    index: str
    name: str
    utilization: float
    used_bytes: float
    total_bytes: float
    temperature_c: float


def disks(results: Path | None = None) -> list[Disk]:
    """The disks of results (default: the current folder), cache, records and temporary files."""
    places = {
        "results": results if results is not None else Path.cwd(),
        "cache": home(),
        "records": ledger.home(),
        "temporary": Path(tempfile.gettempdir()),
    }
    states = []
    for place, folder in places.items():
        with contextlib.suppress(OSError):
            free, total = disk.usage(folder)
            states.append(Disk(place, folder, free, total))
    return states


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this machine; none where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """GPUs from the table that `nvidia-smi` prints; rows it cannot fill ("[N/A]") are left out."""
    devices = []
    for row in csv.reader(io.StringIO(text), skipinitialspace=True):
        with contextlib.suppress(ValueError):
            index, name, load, used, total, temperature = row
            mib = 1 << 20
            devices.append(
                Gpu(
                    index, name, float(load) / 100, float(used) * mib, float(total) * mib,
                    float(temperature),
                )
            )  # fmt: skip
    return devices


def processor_load() -> float:
    """Share of this machine's processors in use since the last call, 0..1."""
    return psutil.cpu_percent() / 100


def load_average() -> float:
    """Processes that want to run, mean of one minute."""
    return os.getloadavg()[0]
