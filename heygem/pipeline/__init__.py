"""One avatar, one sound, one labelled video."""

from heygem.pipeline.generate import (
    Models,
    Motion,
    Result,
    aperture_limit,
    authorize,
    generate,
    load_models,
    speaker_scale,
)
from heygem.pipeline.timeline import Timeline, build_timeline, frames_in_order

__all__ = [
    "Models",
    "Motion",
    "Result",
    "Timeline",
    "frames_in_order",
    "generate",
    "build_timeline",
    "load_models",
    "authorize",
    "speaker_scale",
    "aperture_limit",
]
