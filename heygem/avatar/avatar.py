"""One person: a tracked video or picture, with everything that speaking needs of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from heygem import media
from heygem.avatar.bundle_protocol import Bundle
from heygem.avatar.library import MouthLibrary
from heygem.avatar.reasons import UNUSABLE, Reason
from heygem.core.types import BoolArray, FloatArray, IntArray
from heygem.face import tracking
from heygem.face.pose import Pose, to_canonical
from heygem.face.rest import RestShape
from heygem.face.topology import LOWER
from heygem.media.yuv import Picture


class Animation(Protocol):
    """Makes the frames of a video out of a still picture."""

    def picture(self, still: Picture, frame: int) -> Picture:
        """Frame number `frame`, as a copy of the still."""


@dataclass(frozen=True)
class Avatar:
    """One person, ready to speak.

    Attributes
    ----------
    path : Path
        The video or picture it was made from.
    sha256 : str
        Hash of that file.
    info : heygem.media.MediaInfo
    track : heygem.face.tracking.Track
    pose : Pose
        For every frame; rows of frames without a face are zero.
    usable : bool [T]
        Frames whose mouth can be replaced.
    reasons : str [T]
        `Reason` for which a frame is unusable; empty where it is usable.
    rest : RestShape
    library : MouthLibrary
    report : dict
        Quality of the material, see `heygem.avatar.report`.
    bundle : Bundle or None
        Results of fine-tuning for this person.
    animation : Animation or None
        Makes the frames of a still portrait that moves; see `heygem.avatar.still_animation`.
    expression : float32 [T, 2, 2] or None
        Of `heygem.avatar.expression.slow_expression`; None for a still, and where an earlier
        version analysed the video.
    speech_posture : float32 [len(LOWER), 3] or None
        Mean displacement of the lower face from rest in the person's own speech, IOD: how wide,
        high and open the mouth usually is. None where there is too little speech to tell.
    """

    path: Path
    sha256: str
    info: media.MediaInfo
    track: tracking.Track
    pose: Pose
    usable: BoolArray
    reasons: np.ndarray
    rest: RestShape
    library: MouthLibrary
    report: dict[str, Any]
    bundle: Bundle | None = None
    animation: Animation | None = None
    expression: FloatArray | None = None
    speech_posture: FloatArray | None = None

    @property
    def is_still(self) -> bool:
        """Whether the avatar is made from a single picture."""
        return len(self.track) == 1 or self.animation is not None

    @property
    def speech_scale(self) -> float | None:
        """Spread (std) of the lip aperture in the person's own speech, IOD; None: unknown."""
        return self.report["speech_aperture_std"]

    @property
    def speech_s(self) -> float:
        """Seconds of the person's own speech in usable frames."""
        return float(self.report["speech_s"])

    @property
    def unusable_frames(self) -> dict[Reason, int]:
        """Number of frames of the video that cannot be used, by cause."""
        return {reason: int((self.reasons == reason).sum()) for reason in UNUSABLE}

    def skip_reason(self, frame: int) -> Reason:
        """Why the mouth of a frame of the video is not replaced (for a frame that is not)."""
        return Reason(str(self.reasons[frame]) or Reason.NEAR_UNUSABLE)

    def displacement(self, frames: IntArray | slice = slice(None)) -> FloatArray:
        """Lower face relative to rest, `float32 [T, len(LOWER), 3]` in IOD."""
        pose = self.pose[frames]
        canonical = to_canonical(self.track.points[frames][:, LOWER], pose)
        return canonical - self.rest.at(pose)
