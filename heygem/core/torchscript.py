"""Tensors of a TorchScript archive, read without running anything in it.

`torch.jit.load` compiles the code of an archive and calls the `__setstate__` of its modules before
anything can be checked, so a checkpoint from elsewhere may do what it likes. Here only two things
are read: `data.pkl`, with an unpickler that knows tensors and inert modules, and the numbers under
`data/`. The code is not even opened.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PICKLE_BYTES = 16 << 20  # a published checkpoint's is 60 kB
MAX_DEPTH, MAX_ATTRIBUTES = 32, 100_000
_BFLOAT16 = [("bfloat16", "<u2")]  # the upper half of a float32, which NumPy does not have
_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(_BFLOAT16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Wrappers of lists, which hold settings of a module and no weights.
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive: it holds constants.pkl, a plain checkpoint not."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Parameters and buffers of the archived module, by their names.

    Parameters
    ----------
    path : Path
        An archive for which `is_archive` holds.

    Raises
    ------
    pickle.UnpicklingError, zipfile.BadZipFile, ValueError, TypeError
        The archive holds more than modules and tensors, or is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        roots = [name for name in archive.namelist() if PurePosixPath(name).name == "data.pkl"]
        if len(roots) != 1:
            raise pickle.UnpicklingError(f"{len(roots)} data.pkl in the archive, not one")
        if archive.getinfo(roots[0]).file_size > MAX_PICKLE_BYTES:
            raise pickle.UnpicklingError(f"data.pkl is larger than {MAX_PICKLE_BYTES >> 20} MB")
        with archive.open(roots[0]) as stream:
            module = _Unpickler(stream, archive, PurePosixPath(roots[0]).parent).load()
    if not isinstance(module, _Module):
        raise pickle.UnpicklingError(f"the archive holds a {type(module).__name__}, not a module")
    state: dict[str, NDArray[Any]] = {}
    _collect(module, "", state, [0])
    return state


class _Module:
    """Stands for any class of the archive: keeps the attributes, and has no behaviour."""

    __slots__ = ("attributes",)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(
                "a module of the archive restores itself with code of its own"
            )
        self.attributes = state


class _Unpickler(pickle.Unpickler):
    """Resolves the few names that weights need, and refuses all others.

    Parameters
    ----------
    stream : file
        `data.pkl`.
    archive : zipfile.ZipFile
    root : PurePosixPath
        Folder of the archive's files.
    """

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: PurePosixPath) -> None:
        super().__init__(stream, encoding="utf-8")
        self._archive = archive
        self._root = root
        self._storages: dict[str, NDArray[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name in the pickle; see `pickle.Unpickler.find_class`."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name in _LISTS:
            return self._list
        raise pickle.UnpicklingError(f"the archive names {module}.{name}, which is not a weight")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """The numbers of one storage : [n]; see `pickle.Unpickler.persistent_load`."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and isinstance(pid[1], np.dtype)):  # noqa: PLR2004
            raise pickle.UnpicklingError("a storage of the archive is not described as one")
        _, dtype, key, _, count = pid
        key = str(key)
        if key not in self._storages:
            member = self._archive.getinfo(str(self._root / "data" / key))
            # Weights are stored as they are; a compressed member could unpack to any size.
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != count * (
                dtype.itemsize
            ):
                raise pickle.UnpicklingError(f"storage {key} has another size than it states")
            content = bytearray(self._archive.read(member))
            numbers = np.frombuffer(content, dtype) if content else np.empty(0, dtype)
            if dtype == _DTYPES["BFloat16Storage"]:
                numbers = (numbers.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
            self._storages[key] = numbers
        return self._storages[key]

    @staticmethod
    def _tensor(
        storage: NDArray[Any], offset: int, size: Any, stride: Any, *_: object
    ) -> NDArray[Any]:
        """A view of a storage; NumPy checks that it lies inside."""
        step = storage.itemsize
        strides = tuple(step * each for each in stride)
        return np.ndarray(tuple(size), storage.dtype, storage.data, step * offset, strides)

    @staticmethod
    def _list(values: list[Any]) -> list[Any]:
        return values


def _collect(
    module: _Module, prefix: str, state: dict[str, NDArray[Any]], visited: list[int]
) -> None:
    """Add the tensors of a module and of those inside it; `visited` counts attributes."""
    if prefix.count(".") > MAX_DEPTH:
        raise pickle.UnpicklingError(f"modules nested deeper than {MAX_DEPTH}")
    for key, value in getattr(module, "attributes", {}).items():
        visited[0] += 1
        if visited[0] > MAX_ATTRIBUTES:
            raise pickle.UnpicklingError(f"more than {MAX_ATTRIBUTES} attributes")
        if isinstance(value, np.ndarray):
            state[f"{prefix}{key}"] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{key}.", state, visited)
