"""Frames and sound to an MP4 that plays everywhere, whole or not at all."""

import contextlib
import errno
import hashlib
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
from av.video.reformatter import VideoReformatter

from heygem.core.errors import OutputError, ParameterError
from heygem.media.colour import from_rgb
from heygem.media.probe import shown

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_AAC_RATES_HZ = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip  # ISO/IEC 14496-3, table 1.18
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_AUDIO_AHEAD_S = 0.5  # how far the sound is encoded ahead of the pictures


class VideoWriter:
    """Write frames at their own times, with sound, to H.264 + AAC.

    Everything goes to a short hidden name beside the target, which takes the target's name only
    when `close` has finished and the data is on the disk. As a context manager it closes on a
    normal end and aborts on an exception.

    Parameters
    ----------
    path : str or Path
        ``.mp4``, ``.mov``, ``.m4v`` or ``.mkv`` (times in whole milliseconds in MKV).
    width, height : int
        Of the images, pixels. Odd sizes are padded by one repeated row or column (4:2:0 needs
        even ones) and noted.
    rate : Fraction or float
        Nominal frames per second: of the header, and of the last frame's length.
    audio : AudioTrack or AudioFile, optional
        Starts at time 0. Encoded as AAC at its own rate; rates AAC lacks go to the next higher.
    crf : int
        x264 quality, 0 (best) .. 51; 18 is visually near the source.
    preset : str
        x264 preset, ``ultrafast`` .. ``veryslow``.
    metadata : dict of str to str
        Container tags, the only ones written.
    lossless : bool
        RGB kept bit for bit (libx264rgb, crf 0), for measuring.
    time_base : Fraction, optional
        Unit of the written times, seconds. Give the source's to keep its times exactly. The
        default is exact for a constant ``rate``.
    pixel_aspect : Fraction
        Width over height of one pixel, as in `VideoInfo`.

    Raises
    ------
    OutputError
        The folder is missing or not writable, the disk is full, the encoder refuses.
    """

    def __init__(
        self,
        path,
        *,
        width: int,
        height: int,
        rate,
        audio=None,
        crf: int = 18,
        preset: str = "medium",
        metadata: dict[str, str] | None = None,
        lossless: bool = False,
        time_base: Fraction | None = None,
        pixel_aspect: Fraction = Fraction(1),
    ):
        self.path = Path(path)
        self.width, self.height = width, height
        self.rate = Fraction(rate).limit_denominator(100_000)
        self.notes: list[str] = []
        self.frames = 0
        self._container = None
        self._done = False
        container_format = _FORMATS.get(self.path.suffix.lower())
        if container_format is None:
            raise OutputError(
                f"cannot write {shown(self.path)}",
                seen=f"ending {self.path.suffix!r}",
                remedy=f"Use one of {', '.join(_FORMATS)}.",
            )
        self._time_base = Fraction(time_base) if time_base else _exact_time_base(self.rate)
        self._pad = (0, 0) if lossless else (height % 2, width % 2)
        self._pixel_format = "rgb24" if lossless else "yuv420p"
        self._reformatter = VideoReformatter()
        if self.path.is_dir():
            raise OutputError(
                f"cannot write {shown(self.path)}",
                seen="a folder has this name",
                remedy="Choose another name.",
            )
        self._temp = _temporary_name(self.path.absolute())
        self._last_tick = None
        self._last_s = 0.0
        try:
            # Made first by us, so that the reason of a refusal is the system's own.
            with open(self._temp, "wb"):
                pass
            self._open(container_format, crf, preset, metadata or {}, lossless, pixel_aspect)
            self._open_audio(audio)
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as e:
            self.abort()
            raise self._refused(e) from e
        except BaseException:
            self.abort()
            raise

    def _open(self, container_format, crf, preset, metadata, lossless, pixel_aspect):
        options = {}
        if container_format != "matroska":
            # use_metadata_tags: keys outside the fixed iTunes set (AIGC) are kept too.
            options["movflags"] = "use_metadata_tags+faststart"
            options["video_track_timescale"] = str(self._time_base.denominator)
        self._container = av.open(
            "file:" + os.fspath(self._temp), "w", format=container_format, container_options=options
        )
        self._container.metadata.update(metadata)
        stream = self._container.add_stream("libx264rgb" if lossless else "libx264", rate=self.rate)
        stream.width = self.width + self._pad[1]
        stream.height = self.height + self._pad[0]
        stream.pix_fmt = self._pixel_format
        stream.time_base = stream.codec_context.time_base = self._time_base
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.options = {"crf": "0" if lossless else str(crf), "preset": preset}
        if not lossless:
            c = stream.codec_context
            c.color_range, c.colorspace, c.color_primaries, c.color_trc = 1, 1, 1, 1
        if self._pad != (0, 0):
            self.notes.append(
                f"{self.width}x{self.height} is odd: written as {stream.width}x{stream.height}, "
                "the last row or column repeated"
            )
        self._video = stream

    def _open_audio(self, audio):
        self._audio = None
        if audio is None:
            return
        rate_hz = audio.rate_hz
        if rate_hz not in _AAC_RATES_HZ:
            higher = [r for r in _AAC_RATES_HZ if r > audio.rate_hz]
            rate_hz = min(higher, default=96000)
            self.notes.append(f"sound resampled from {audio.rate_hz} to {rate_hz} Hz for AAC")
        channels = audio.channels
        if channels not in _AAC_LAYOUTS:
            self.notes.append(f"sound mixed from {channels} channels to 2 for AAC")
            channels = 2
        stream = self._container.add_stream("aac", rate=rate_hz)
        stream.layout = _AAC_LAYOUTS[channels]
        # 96 kbit/s for each channel at 48 kHz, where FFmpeg's AAC is clear for speech and music.
        stream.bit_rate = max(32_000, int(96_000 * channels * min(1.0, rate_hz / 48_000)))
        self._audio = stream
        self._resampler = av.AudioResampler("fltp", stream.layout, rate_hz)
        self._blocks = audio.blocks()
        self._in_rate_hz = audio.rate_hz
        self._in_layout = av.AudioLayout(_AAC_LAYOUTS.get(audio.channels) or f"{audio.channels}c")
        self._audio_in = 0  # samples taken

    def write(self, image: np.ndarray, time_s: float):
        """Append one frame.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB, 0..255
        time_s : float
            When it is shown; must be later than the frame before.
        """
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            raise ParameterError(
                f"a frame does not fit {shown(self.path)}",
                seen=f"{image.dtype} {image.shape}",
                remedy=f"Give uint8 ({self.height}, {self.width}, 3).",
            )
        tick = round(time_s / float(self._time_base))
        if self._last_tick is not None and tick <= self._last_tick:
            raise ParameterError(
                f"frame times of {shown(self.path)} must increase",
                seen=f"{time_s:.6f} s after {self._last_s:.6f} s",
            )
        if self._pad != (0, 0):
            image = np.pad(image, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), "edge")
        if self._pixel_format == "rgb24":
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        else:
            frame = from_rgb(image, self._pixel_format, self._reformatter)
        frame.pts = tick
        frame.time_base = self._time_base
        try:
            self._write_audio_until(time_s + _AUDIO_AHEAD_S)
            self._mux_video(frame)
        except (av.FFmpegError, OSError) as e:
            self.abort()
            raise self._refused(e) from e
        self._last_tick, self._last_s = tick, time_s
        self.frames += 1

    def _mux_video(self, frame):
        for packet in self._video.encode(frame):
            if not packet.duration:  # the last one of these is how long the last frame is shown
                packet.duration = round(1 / self.rate / self._time_base)
            self._container.mux(packet)

    def _write_audio_until(self, end_s):
        while self._audio is not None and self._audio_in < end_s * self._in_rate_hz:
            block = next(self._blocks, None)
            if block is None:
                for frame in self._resampler.resample(None):
                    self._container.mux(self._audio.encode(frame))
                self._container.mux(self._audio.encode(None))
                self._audio = None
                return
            packed = np.ascontiguousarray(np.clip(block, -1, 1), np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._in_layout)
            frame.sample_rate = self._in_rate_hz
            frame.time_base = Fraction(1, self._in_rate_hz)
            frame.pts = self._audio_in
            self._audio_in += len(block)
            for resampled in self._resampler.resample(frame):
                self._container.mux(self._audio.encode(resampled))

    def close(self) -> Path:
        """Finish, flush to the disk and take the target's name; returns the path."""
        if self._done:
            return self.path
        try:
            self._write_audio_until(float("inf"))
            self._mux_video(None)
            self._container.close()
            self._container = None
            with open(self._temp, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._temp, self.path)
        except (av.FFmpegError, OSError) as e:
            self.abort()
            raise self._refused(e) from e
        except BaseException:
            self.abort()
            raise
        self._done = True
        return self.path

    def abort(self):
        """Stop and leave nothing behind; the target, if it existed, is untouched."""
        if self._done:
            return
        self._done = True
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                self._container.close()
            self._container = None
        with contextlib.suppress(OSError):
            self._temp.unlink()

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        if kind is None:
            self.close()
        else:
            self.abort()

    def _refused(self, error) -> OutputError:
        code = getattr(error, "errno", None)
        remedy = {
            errno.ENOSPC: "Free some disk space or choose another folder.",
            errno.EDQUOT: "Your disk quota is used up; free some space or choose another folder.",
            errno.EFBIG: "The file system or a limit does not allow files this large.",
            errno.ENOENT: "Create the folder first.",
            errno.ENOTDIR: "Name a file inside a folder.",
            errno.EACCES: "Choose a folder you may write to.",
            errno.EROFS: "The disk is read-only; choose another folder.",
            errno.ENAMETOOLONG: "Choose a shorter name.",
        }.get(code, "Check the folder and the encoder settings.")
        seen = getattr(error, "strerror", None) or str(error)
        return OutputError(f"cannot write {shown(self.path)}", seen=seen, remedy=remedy)


def _exact_time_base(rate: Fraction) -> Fraction:
    """A unit in which every ``n / rate`` is whole, finer than a tenth of a millisecond."""
    ticks = rate.numerator
    while ticks < 10_000:
        ticks *= 2
    return Fraction(1, ticks)


def _temporary_name(path: Path) -> Path:
    """A short hidden name beside the target; what killed processes left under it is removed."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]  # the name may be 255 bytes long
    for old in path.parent.glob(f".{digest}-*.part"):
        if not psutil.pid_exists(int(old.stem.rpartition("-")[2])):
            old.unlink(missing_ok=True)
    return path.parent / f".{digest}-{os.getpid()}.part"
