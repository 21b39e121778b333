"""Libraries inside Python packages: a wheel's own licence says nothing of what was put into it.

PyAV's wheel carries x264 and x265 (GPL), OpenCV's an FFmpeg and Qt (LGPL), eSpeak NG's loader the
GPL library itself. Every native library that a package of another project carries is listed with
its own licence and hash. FFmpeg's libraries are asked: each holds its licence as text, which
depends on how it was built.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from heygem.core import files
from heygem.provenance.sbom.licences import UNKNOWN

_FFMPEG = "https://ffmpeg.org"
_X = "https://www.x.org"
_GCC = "https://gcc.gnu.org"
_GCC_EXCEPTION = "GPL-3.0-or-later WITH GCC-exception-3.1"
_GNU_DUAL = "LGPL-3.0-or-later OR GPL-2.0-or-later"
#: Beginning of a library's name -> licence, project. The longest beginning that fits counts.
LIBRARIES = {
    "Qt5": ("LGPL-3.0-only", "https://www.qt.io"),
    "SvtAv1Enc": ("BSD-3-Clause-Clear", "https://gitlab.com/AOMediaCodec/SVT-AV1"),
    "X11": ("MIT", _X),
    "Xau": ("MIT-open-group", _X),
    "aom": ("BSD-2-Clause", "https://aomedia.googlesource.com/aom"),
    "asound": ("LGPL-2.1-or-later", "https://www.alsa-project.org"),
    "avcodec": ("", _FFMPEG),
    "avdevice": ("", _FFMPEG),
    "avfilter": ("", _FFMPEG),
    "avformat": ("", _FFMPEG),
    "avif": ("BSD-2-Clause", "https://github.com/AOMediaCodec/libavif"),
    "avutil": ("", _FFMPEG),
    "brotli": ("MIT", "https://github.com/google/brotli"),
    "c2pa_c": ("MIT OR Apache-2.0", "https://github.com/contentauth/c2pa-rs"),
    "crypto": ("OpenSSL", "https://openssl-library.org"),
    "dav1d": ("BSD-2-Clause", "https://code.videolan.org/videolan/dav1d"),
    "drm": ("MIT", "https://gitlab.freedesktop.org/mesa/drm"),
    "espeak-ng": ("GPL-3.0-or-later", "https://github.com/espeak-ng/espeak-ng"),
    "freetype": ("FTL OR GPL-2.0-or-later", "https://freetype.org"),
    "gfortran": (_GCC_EXCEPTION, _GCC),
    "gmp": (_GNU_DUAL, "https://gmplib.org"),
    "gnutls": ("LGPL-2.1-or-later", "https://www.gnutls.org"),
    "gomp": (_GCC_EXCEPTION, _GCC),
    "harfbuzz": ("MIT-Modern-Variant", "https://github.com/harfbuzz/harfbuzz"),
    "hogweed": (_GNU_DUAL, "https://www.lysator.liu.se/~nisse/nettle"),
    "jpeg": ("IJG AND BSD-3-Clause", "https://libjpeg-turbo.org"),
    "lcms2": ("MIT", "https://www.littlecms.com"),
    "lzma": ("0BSD", "https://tukaani.org/xz"),
    "mediainfo": ("BSD-2-Clause", "https://mediaarea.net"),
    "mp3lame": ("LGPL-2.0-or-later", "https://lame.sourceforge.io"),
    "nettle": (_GNU_DUAL, "https://www.lysator.liu.se/~nisse/nettle"),
    "openblas": ("BSD-3-Clause", "https://github.com/OpenMathLib/OpenBLAS"),
    "opencore-amr": ("Apache-2.0", "https://opencore-amr.sourceforge.io"),
    "openjp2": ("BSD-2-Clause", "https://www.openjpeg.org"),
    "opus": ("BSD-3-Clause", "https://opus-codec.org"),
    "pcre2": ("BSD-3-Clause", "https://github.com/PCRE2Project/pcre2"),
    "png16": ("libpng-2.0", "http://www.libpng.org"),
    "portaudio": ("MIT", "https://www.portaudio.com"),
    "quadmath": ("LGPL-2.1-or-later", _GCC),
    "scipy_openblas": ("BSD-3-Clause", "https://github.com/OpenMathLib/OpenBLAS"),
    "sharpyuv": ("BSD-3-Clause", "https://chromium.googlesource.com/webm/libwebp"),
    "sndfile": ("LGPL-2.1-or-later", "https://libsndfile.github.io/libsndfile"),
    "sodium": ("ISC", "https://libsodium.org"),
    "ssl": ("OpenSSL", "https://openssl-library.org"),
    "swresample": ("", _FFMPEG),
    "swscale": ("", _FFMPEG),
    "tiff": ("libtiff", "https://libtiff.gitlab.io/libtiff"),
    "unistring": (_GNU_DUAL, "https://www.gnu.org/software/libunistring"),
    "vpl": ("MIT", "https://github.com/intel/libvpl"),
    "vpx": ("BSD-3-Clause", "https://www.webmproject.org"),
    "webp": ("BSD-3-Clause", "https://chromium.googlesource.com/webm/libwebp"),
    "x264": ("GPL-2.0-or-later", "https://www.videolan.org/developers/x264.html"),
    "x265": ("GPL-2.0-or-later", "https://bitbucket.org/multicoreware/x265_git"),
    "xcb": ("MIT", "https://xcb.freedesktop.org"),
    "xkbcommon": ("MIT", "https://xkbcommon.org"),
    "zmq": ("MPL-2.0", "https://zeromq.org"),
    "zstd": ("BSD-3-Clause", "https://facebook.github.io/zstd"),
}
_FILE = re.compile(r"^lib(?P<stem>.+?)\.(?:so|dylib|dll)(?P<version>(?:\.[0-9a-z]+)*)$")
# What a build tool adds to a name: part of a hash, or the machine.
_ADDED = re.compile(r"[-_](?:[0-9a-f]{8}|x86_64|arm64|aarch64)(?=[-_.]|$)")
_FFMPEG_LICENCE = re.compile(rb"lib(?:av|sw|post)[a-z]+ license: ([A-Za-z0-9. ]+)")
_FFMPEG_IDS = {
    "LGPL version 2.1 or later": "LGPL-2.1-or-later",
    "LGPL version 3 or later": "LGPL-3.0-or-later",
    "GPL version 2 or later": "GPL-2.0-or-later",
    "GPL version 3 or later": "GPL-3.0-or-later",
    "nonfree and unredistributable": "LicenseRef-FFmpeg-nonfree",
}


@dataclass(frozen=True)
class BundledLibrary:
    """A native library inside a package: `file` is relative to the installation's packages."""

    file: str
    name: str
    version: str
    licence: str
    origin: str
    sha256: str


def bundled_libraries(package: Distribution) -> Iterator[BundledLibrary]:
    """Native libraries of other projects that a package's files hold, each once.

    A file counts if a build tool put it into a `.libs` or `.dylibs` folder, or if its name is that
    of a known library. The package's own extension modules are not listed.
    """
    hashes = set()
    for file in sorted(package.files or (), key=lambda path: (len(path.name), path.as_posix())):
        match = _FILE.match(file.name)
        if match is None:
            continue
        name = _ADDED.sub("", match["stem"])
        licence, origin = _licence_and_project(name)
        is_vendored = any(part.endswith((".libs", ".dylibs")) for part in file.parts)
        path = Path(str(file.locate()))
        if (not origin and not is_vendored) or not path.is_file():
            continue
        sha256 = files.sha256(path)
        if sha256 in hashes:  # a library under several names, where links are not kept
            continue
        hashes.add(sha256)
        if origin == _FFMPEG:
            licence = _ffmpeg_licence(path)
        version = match["version"].strip(".")
        yield BundledLibrary(file.as_posix(), name, version, licence, origin, sha256)


def _licence_and_project(name: str) -> tuple[str, str]:
    """Licence and project of a library by its name; `UNKNOWN` and no project for others."""
    beginnings = [start for start in LIBRARIES if name.startswith(start)]
    return LIBRARIES[max(beginnings, key=len)] if beginnings else (UNKNOWN, "")


def _ffmpeg_licence(path: Path) -> str:
    """The licence that an FFmpeg library states of its own build."""
    match = _FFMPEG_LICENCE.search(path.read_bytes())
    return _FFMPEG_IDS.get(match[1].decode().strip(), UNKNOWN) if match else UNKNOWN
