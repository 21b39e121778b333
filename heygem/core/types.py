"""Types that all packages share: arrays, paths and callbacks."""

import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.floating[Any]]
    IntArray: TypeAlias = NDArray[np.integer[Any]]
    BoolArray: TypeAlias = NDArray[np.bool_]
    Image: TypeAlias = NDArray[np.uint8]  # [H, W, 3], RGB, 0..255
else:

    def __getattr__(name: str) -> Any:
        # NumPy takes as long to import as all of the command line; who needs no array waits for
        # none.
        dtypes = {"FloatArray": "floating", "IntArray": "integer", "BoolArray": "bool_"}
        dtypes["Image"] = "uint8"
        if name not in dtypes:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import numpy as np
        from numpy.typing import NDArray

        return NDArray[getattr(np, dtypes[name])]


class Progress(Protocol):
    """Called while work continues; may raise `heygem.core.errors.Cancelled` to stop it."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """`done` of `total` steps of a stage are finished; `total` 0 means unknown."""


class Watch(Protocol):
    """Called with each value of a curve, such as a loss."""

    def __call__(self, name: str, value: float, step: int, /) -> None:
        """`value` of the curve `name` at `step`."""
