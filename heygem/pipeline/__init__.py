"""One avatar, one sound, one labelled video."""

from heygem.pipeline.generate import (
    Models,
    Motion,
    Result,
    generate,
    load_models,
    permit,
    personal_scale,
    reach,
)
from heygem.pipeline.timeline import Timeline, frames_in_order, lay_out

__all__ = [
    "Models",
    "Motion",
    "Result",
    "Timeline",
    "frames_in_order",
    "generate",
    "lay_out",
    "load_models",
    "permit",
    "personal_scale",
    "reach",
]
