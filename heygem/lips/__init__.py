"""Audio to mouth movement: the model, the trajectory it predicts, and the controls on it."""

from heygem.lips.controls import apply_controls, limit_aperture
from heygem.lips.model import CONTEXT_S, FORMAT, SHIPPED, WITHOUT_EMBEDDING, LipsModel
from heygem.lips.trajectory import (
    RATE_HZ,
    Trajectory,
    aperture_direction,
    aperture_of,
    width_direction,
    width_of,
)

__all__ = [
    "CONTEXT_S",
    "FORMAT",
    "RATE_HZ",
    "SHIPPED",
    "LipsModel",
    "Trajectory",
    "WITHOUT_EMBEDDING",
    "aperture_direction",
    "aperture_of",
    "apply_controls",
    "width_direction",
    "width_of",
    "limit_aperture",
]
