"""From displacements of the lower face to coefficients of a basis, with the weights of the fit."""

import numpy as np

from heygem.core.types import FloatArray
from heygem.face import topology as topo
from heygem.face.topology import LOWER, LOWER_WEIGHT


def point_weights() -> FloatArray:
    """Weight of each coordinate in the basis : float32 [len(LOWER) * 3].

    Depth is guessed by the mesh model, so it weighs less; lips weigh more.
    """
    weights = np.repeat(LOWER_WEIGHT[:, None], 3, 1) * np.array([1, 1, 0.4])
    for ring, factor in ((topo.LIPS_INNER, 1.7), (topo.LIPS_OUTER, 1.3)):
        weights[np.isin(LOWER, ring)] *= factor
    return weights.reshape(-1).astype(np.float32)


def projection(basis: FloatArray) -> FloatArray:
    """Displacements to coefficients of a basis, by weighted least squares.

    Parameters
    ----------
    basis : float32 [K, len(LOWER), 3]

    Returns
    -------
    float32 [len(LOWER) * 3, K]
    """
    weights = point_weights()
    weighted = basis.reshape(len(basis), -1) * weights
    return (weights[:, None] * np.linalg.pinv(weighted)).astype(np.float32)
