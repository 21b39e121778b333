"""One avatar, one sound, one labelled video.

`generate` is the whole path; its steps are usable one by one: `load_models` and `load_person`,
`Models.encode_audio`, `animate` (of a still portrait), `articulate`, `build_timeline`,
`make_renderer`, `finished_frames`.
"""

from heygem.avatar.still_animation import animate
from heygem.avatar.timeline import Timeline, build_timeline, frames_in_order
from heygem.pipeline.articulate import (
    SpeakerStyle,
    aperture_limit,
    articulate,
    speaker_style,
    with_expression,
)
from heygem.pipeline.frames import FinishedFrame, face_boxes, finished_frames
from heygem.pipeline.generate import Result, authorize, generate
from heygem.pipeline.models import EncodedAudio, Models, load_models
from heygem.pipeline.people import load_avatar, load_person
from heygem.pipeline.renderers import find_engine, make_renderer

__all__ = [
    "EncodedAudio",
    "FinishedFrame",
    "Models",
    "Result",
    "SpeakerStyle",
    "Timeline",
    "animate",
    "aperture_limit",
    "articulate",
    "authorize",
    "build_timeline",
    "face_boxes",
    "find_engine",
    "finished_frames",
    "frames_in_order",
    "generate",
    "load_avatar",
    "load_models",
    "load_person",
    "make_renderer",
    "speaker_style",
    "with_expression",
]
