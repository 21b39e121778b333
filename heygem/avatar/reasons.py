"""Why a frame keeps its original mouth: one code per cause, and its sentence.

The codes of the first five belong to a frame of the avatar's own video (`Avatar.reasons`); the last
two arise when frames are put in the order of a new audio track. Results store the codes
(`skipped_frames`); pages and messages show `describe`.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Cause for which a frame is shown unchanged."""

    NO_FACE = "NO_FACE"  # no face was detected
    TURNED = "TURNED"  # yaw or pitch beyond `face.max_turn_deg`
    SMALL = "SMALL"  # narrower than `face.min_face_px`, with some tolerance
    BLURRED = "BLURRED"  # out of focus, motion blur or a dissolve
    OCCLUDED = "OCCLUDED"  # something is in front of the mouth
    NEAR_UNUSABLE = "NEAR_UNUSABLE"  # in the fade towards an unusable frame
    AFTER_AUDIO = "AFTER_AUDIO"  # the audio has ended


#: Causes that make a frame of the source video unusable, in the order in which they are tested.
UNUSABLE = (Reason.NO_FACE, Reason.TURNED, Reason.SMALL, Reason.BLURRED, Reason.OCCLUDED)

#: By code: English, Chinese. Follows "12 frames left unchanged: ".
SENTENCES: dict[str, tuple[str, str]] = {
    Reason.NO_FACE: ("no face", "没有人脸"),
    Reason.TURNED: ("turned away", "头部转开"),
    Reason.SMALL: ("face too small", "人脸太小"),
    Reason.BLURRED: ("blurred or faded", "模糊或淡入淡出"),
    Reason.OCCLUDED: ("something in front of the mouth", "嘴部被遮挡"),
    Reason.NEAR_UNUSABLE: ("next to an unusable frame", "紧邻不可用的帧"),
    Reason.AFTER_AUDIO: ("after the end of the audio", "音频结束之后"),
}

#: Sentences that earlier versions stored in place of codes, in caches and avatar bundles.
_LEGACY = {
    "no face": Reason.NO_FACE,
    "turned away": Reason.TURNED,
    "too small": Reason.SMALL,
    "blurred or faded": Reason.BLURRED,
    "with something before the mouth": Reason.OCCLUDED,
}


def describe(code: str, language: str = "en") -> str:
    """The sentence of a reason code; an unknown code is returned as it is.

    Parameters
    ----------
    code : value of `Reason`
    language : "en" or "zh"
    """
    english, chinese = SENTENCES.get(code, (code, code))
    return chinese if language == "zh" else english


def from_stored(name: str) -> Reason:
    """The reason of a stored code, or of the sentence that earlier versions stored.

    Raises
    ------
    ValueError
        Neither.
    """
    return _LEGACY[name] if name in _LEGACY else Reason(name)
