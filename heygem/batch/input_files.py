"""The files that a recipe names: names as they are, patterns as `talks/*.wav`, and folders.

A pattern may also be an address in an object store, as `s3://bucket/talks/*.wav`.
"""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from heygem.core.errors import InputError, ParameterError
from heygem.core.files import is_address
from heygem.media import BUNDLE_SUFFIX, is_avatar_bundle
from heygem.media.container import FOOTAGE_SUFFIXES

PORTRAIT_SUFFIXES = frozenset(".jpg .jpeg .png .webp .bmp .tif .tiff".split())
# An avatar bundle is a folder that is chosen as a video is.
VIDEO_SUFFIXES = FOOTAGE_SUFFIXES | PORTRAIT_SUFFIXES | {BUNDLE_SUFFIX}
AUDIO_SUFFIXES = frozenset(".wav .mp3 .m4a .aac .flac .ogg .opus .wma .mp4 .mov .mkv .webm".split())

Kind = Literal["audio", "video"]
_SUFFIXES = {"audio": AUDIO_SUFFIXES, "video": VIDEO_SUFFIXES}


def expand(names: Sequence[str], kind: Kind) -> list[str]:
    """File names instead of patterns and folders, each once; files of a pattern by name.

    What a pattern or folder yields is limited to files whose suffix is that of a video, portrait
    or sound; hidden files are left out. A name of a file that is there is never a pattern.

    Raises
    ------
    InputError
        A pattern or folder yields nothing.
    """
    files: dict[str, None] = {}
    for name in names:
        path = Path(name)
        is_pattern = glob.has_magic(name)
        if is_address(name) and is_pattern:
            matches, what = _in_store(name), "the pattern matches no"
        elif path.is_dir() and not is_avatar_bundle(path):
            matches = [str(each) for each in path.iterdir() if not each.name.startswith(".")]
            what = "the folder holds no"
        elif not path.exists() and is_pattern:
            matches = glob.glob(name, recursive=True)
            what = "the pattern matches no"
        else:
            files[name] = None
            continue
        matches = [each for each in sorted(matches) if _is_media(each, kind)]
        if not matches:
            kinds = "video or portrait" if kind == "video" else "sound"
            raise InputError(f"{what} {kinds}", seen=name, remedy="check its name and its content")
        files.update(dict.fromkeys(matches))
    return list(files)


def _is_media(name: str, kind: Kind) -> bool:
    path = Path(name)
    if path.suffix.lower() not in _SUFFIXES[kind]:
        return False
    return is_address(name) or is_avatar_bundle(path) or path.is_file()


def _in_store(pattern: str) -> list[str]:
    """Addresses of the files in an object store that a pattern matches."""
    from heygem.batch.cluster import nodes

    nodes.require_ray()  # and what opens stores, which comes with the same extra
    from heygem.batch.cluster import storage

    return storage.matching(pattern)


def combine(
    videos: Sequence[str], audios: Sequence[str], how: Literal["all", "order", "name"]
) -> list[tuple[str, str]]:
    """Which video speaks which sound.

    Parameters
    ----------
    videos, audios : sequence of str
        File names, from `expand`.
    how : str
        "all": every video with every sound; "order": the first with the first, and so on;
        "name": files of one name without suffix.

    Raises
    ------
    ParameterError
        They do not go together; names what has no partner.
    """
    if how == "all":
        return [(video, audio) for video in videos for audio in audios]
    if how == "order":
        if len(videos) != len(audios):
            raise ParameterError(
                "videos and sounds cannot be combined by their order",
                seen=f"{len(videos)} videos, {len(audios)} sounds",
                remedy="name as many sounds as videos, or set inputs.combine: all",
            )
        return list(zip(videos, audios, strict=True))
    sounds = _by_name(audios, "sounds")
    people = _by_name(videos, "videos")
    alone = sorted(people.keys() ^ sounds.keys())
    if alone:
        missing = "sound" if alone[0] in people else "video"
        raise ParameterError(
            f"{alone[0]} has no {missing} of its name (inputs.combine: name)",
            seen=f"{len(alone)} without a partner",
            remedy="name them alike (anna.mp4, anna.wav), or use a table of pairs",
        )
    return [(video, sounds[name]) for name, video in people.items()]


def _by_name(files: Sequence[str], what: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for file in files:
        other = named.setdefault(Path(file).stem, file)
        if other != file:
            raise ParameterError(
                f"two {what} have the same name (inputs.combine: name)",
                seen=f"{other}, {file}",
                remedy="rename one, or use a table of pairs",
            )
    return named
