"""The source video of a result, as its manifest records it, for a page to show beside it.

A manifest is a file that somebody may have written by hand, or that came with a project from
elsewhere. What it names is therefore shown only where it is a video by its content, and has the
hash that the manifest records: to name a file, one must know what is in it.
"""

from pathlib import Path
from typing import Any

from heygem import media
from heygem.core.errors import InputError
from heygem.core.files import hash_input

#: Video codecs that browsers play, by container, and the media type.
_PLAYABLE = {
    "mov": ({"h264", "av1"}, "video/mp4"),
    "matroska": ({"vp8", "vp9", "av1"}, "video/webm"),
}
_IN_8_BITS = 8


def recorded_source(manifest: dict[str, Any]) -> tuple[Path, str]:
    """Path and media type of the source video of a result.

    Parameters
    ----------
    manifest : dict
        As `heygem.batch.item.manifest` describes it.

    Raises
    ------
    InputError
        The manifest records none; it is gone, not the recorded one, or nothing a browser plays.
    """
    recorded = manifest.get("video")
    recorded = recorded if isinstance(recorded, dict) else {}
    name, sha256 = recorded.get("path"), recorded.get("sha256")
    if not (name and sha256 and isinstance(name, str)):
        raise InputError("this result records no source video")
    path = Path(name).resolve()
    if media.is_avatar_bundle(path):
        raise InputError("made with a fine-tuned avatar: its source is not shown beside the result")
    if not path.is_file():
        raise InputError("the source video is no longer there", seen=path)
    # Its kind before its hash: what is no video is not even read through.
    mime = _media_type(path)
    if hash_input(path, reread=False) != sha256:
        raise InputError("the source video was changed since the result was made", seen=path)
    return path, mime


def _media_type(path: Path) -> str:
    info = media.probe(path)
    codecs, mime = _PLAYABLE.get(info.format.partition(",")[0], (set(), ""))
    video = info.video
    if video is None or video.codec not in codecs or video.bit_depth != _IN_8_BITS:
        seen = f"{info.format.partition(',')[0]}, {video.codec if video else 'no picture'}"
        raise InputError("browsers do not play the source video", seen=seen)
    return mime
