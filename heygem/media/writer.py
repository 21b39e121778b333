"""Write frames and audio to an MP4 that all players support; atomically."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter

from heygem.core import disk
from heygem.core.errors import OutputError, ParameterError
from heygem.core.leftovers import hidden_path, remove_leftovers
from heygem.core.types import Image, PathLike
from heygem.media.aac import AacTrack
from heygem.media.audio_io import AudioSource
from heygem.media.coded import coded_packets, exact_time_base
from heygem.media.colour import BT709, ColourCoding, rgb_to_frame
from heygem.media.container import printable
from heygem.media.disclosure import BatchLabel, FrameLabel
from heygem.media.encoders import X264, encoder_options
from heygem.media.yuv import YuvImage

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


def container_format(path: PathLike) -> str:
    """FFmpeg's name of the format that a video's suffix asks for.

    Raises
    ------
    OutputError
        The suffix is unknown, or this build of FFmpeg has no H.264 encoder.
    """
    muxer = _FORMATS.get(Path(path).suffix.lower())
    if muxer is None:
        raise OutputError(
            f"cannot write {printable(path)}",
            seen=f"ending {Path(path).suffix!r}",
            remedy=f"Use one of {', '.join(_FORMATS)}.",
        )
    if "libx264" not in av.codecs_available:
        raise OutputError(
            f"cannot write {printable(path)}: this FFmpeg cannot write H.264",
            seen=f"PyAV {av.__version__}",
            remedy="install PyAV from PyPI: pip install --force-reinstall av",
        )
    return muxer


class VideoWriter:
    """Write labelled frames at their own times, with audio, to H.264 + AAC.

    The data goes to a hidden temporary file beside the target, which is renamed to the target only
    when `close` has finished and the data is on the disk. As a context manager it closes on a
    normal end and aborts on an exception.

    Parameters
    ----------
    path : str or Path
        ``.mp4``, ``.mov``, ``.m4v`` or ``.mkv`` (times in whole milliseconds in MKV).
    label : FrameLabel
        Labels every frame and names the container tags: `heygem.provenance.Labeller` for anything
        AI-made, `RecordedFrames` for frames as they were recorded. Without one nothing is written.
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
        ``balanced`` (see `heygem.media.x264`), or x264's own: ``ultrafast`` .. ``veryslow``.
    lossless : bool
        RGB bit for bit (libx264rgb, crf 0), for measurements.
    expected_frames : int
        How many will be written, for the message where the disk is too small; 0: not known.
    shown_name : str, optional
        What messages call the file, where `path` is a temporary one.
    time_base : Fraction, optional
        Unit of the written times, seconds. Give the source's to keep its times exact. The
        default is exact for a constant ``rate``.
    pixel_aspect : Fraction
        Width over height of one pixel, as in `VideoInfo`.
    coding : ColourCoding
        Matrix and tags; that of the source's `VideoInfo` shows its colours as every reader shows
        the source's. The default is BT.709, tagged so.
    codec : str
        See `heygem.media.encoders.choose_encoder`.
    start_s : float
        Of a segment (see `append_coded`): when its first frame is shown in the whole film.

    Attributes
    ----------
    notes : list of str
    frames : int
        Written so far.
    label_cpu_s : float
        Processor time of labelling them.

    Raises
    ------
    OutputError
        The folder is missing or not writable, the disk is full, the encoder refuses.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        label: FrameLabel,
        width: int,
        height: int,
        rate: Fraction | float,
        audio: AudioSource | None = None,
        crf: int = 18,
        preset: str = "medium",
        lossless: bool = False,
        expected_frames: int = 0,
        shown_name: str | None = None,
        time_base: Fraction | None = None,
        pixel_aspect: Fraction = Fraction(1),
        coding: ColourCoding = BT709,
        codec: str = X264,
        start_s: float = 0.0,
    ) -> None:
        if not isinstance(label, FrameLabel):
            raise ParameterError(
                f"{printable(Path(path))} has no label",
                seen=repr(label),
                remedy="Give a Labeller, or RecordedFrames for frames as they were recorded.",
            )
        self.path = Path(path)
        self._label = label
        self.width, self.height = width, height
        self.rate = Fraction(rate).limit_denominator(100_000)
        self.notes: list[str] = []
        self.frames = 0
        self.label_cpu_s = 0.0
        self._expected_frames = expected_frames
        self._shown_name = shown_name or self.path
        self._container: OutputContainer | None = None
        self._done = False
        muxer = container_format(self.path)
        self._time_base = Fraction(time_base) if time_base else exact_time_base(self.rate)
        self._pad = (0, 0) if lossless else (height % 2, width % 2)
        self._pixel_format = "rgb24" if lossless else "yuv420p"
        self._reformatter = VideoReformatter()
        self._coding = coding.for_size(width + self._pad[1], height + self._pad[0])
        if self.path.is_dir():
            raise OutputError(
                f"cannot write {printable(self.path)}",
                seen="a folder has this name",
                remedy="Choose another name.",
            )
        remove_leftovers(self.path.absolute().parent)
        self._temp = hidden_path(self.path.absolute())
        self._start_tick = round(start_s / float(self._time_base))
        self._last_decode_tick: int | None = None
        self._last_tick: int | None = None
        self._last_s = 0.0
        try:
            # Created here first, so that a refusal carries the operating system's reason.
            with open(self._temp, "wb"):
                pass
            container = self._open_container(muxer, label.tags)
            codec = "libx264rgb" if lossless else codec
            size = width + self._pad[1], height + self._pad[0]
            options = encoder_options(codec, 0 if lossless else crf, preset, *size)
            self._video = self._open_video(container, codec, options, pixel_aspect)
            self._sound = None if audio is None else AacTrack(container, audio)
            self.notes += self._sound.notes if self._sound is not None else []
            container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as e:
            refusal = self._refusal(e)
            self.abort()
            raise refusal from e
        except BaseException:
            self.abort()
            raise

    def _open_container(self, muxer: str, tags: Mapping[str, str]) -> OutputContainer:
        options = {}
        if muxer != "matroska":
            # use_metadata_tags: keys outside the fixed iTunes set (AIGC) are written too.
            options["movflags"] = "use_metadata_tags+faststart"
            options["video_track_timescale"] = str(self._time_base.denominator)
        container = av.open(
            "file:" + os.fspath(self._temp), "w", format=muxer, container_options=options
        )
        self._container = container
        container.metadata.update(tags)
        return container

    def _open_video(
        self,
        container: OutputContainer,
        codec: str,
        options: dict[str, str],
        pixel_aspect: Fraction,
    ) -> av.VideoStream:
        stream = container.add_stream(codec, rate=self.rate)
        assert isinstance(stream, av.VideoStream)
        stream.width = self.width + self._pad[1]
        stream.height = self.height + self._pad[0]
        stream.pix_fmt = self._pixel_format
        stream.time_base = stream.codec_context.time_base = self._time_base
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.options = {**options}
        # PyAV asks for slices: x264's threads then wait for each other within each frame, and a
        # frame in slices is larger.
        stream.codec_context.thread_type = "FRAME"
        if self._pixel_format == "yuv420p":
            c = stream.codec_context
            c.color_range, c.colorspace = self._coding.range_tag, self._coding.space
            c.color_primaries, c.color_trc = self._coding.primaries, self._coding.transfer
        if self._pad != (0, 0):
            self.notes.append(
                f"{self.width}x{self.height} is odd: written as {stream.width}x{stream.height}, "
                "the last row or column repeated"
            )
        return stream

    def write(self, image: Image | YuvImage, time_s: float) -> None:
        """Label one frame and append it.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB, 0..255; or YuvImage
            In planes, with the matrix of `coding`; of even width and height.
        time_s : float
            When it is shown; must be later than the previous frame's.
        """
        self.write_batch([image], [time_s])

    def write_batch(self, images: Sequence[Image | YuvImage], times_s: Sequence[float]) -> None:
        """As `write`, for frames that follow each other: a `BatchLabel` marks them at once."""
        ticks = [self._tick(*each) for each in zip(images, times_s, strict=True)]
        for frame, tick, time_s in zip(
            self._labelled(images, times_s), ticks, times_s, strict=True
        ):
            frame.pts = tick - self._start_tick
            frame.time_base = self._time_base
            try:
                self._write_sound_for(time_s)
                self._mux_video(frame)
            except (av.FFmpegError, OSError) as e:
                refusal = self._refusal(e)  # before the file is removed, its space free again
                self.abort()
                raise refusal from e
            self.frames += 1

    def _tick(self, image: Image | YuvImage, time_s: float) -> int:
        """When a frame is shown, in units of the time base; it is the last one from now on."""
        self._require_fit(image)
        tick = round(time_s / float(self._time_base))
        if self._last_tick is not None and tick <= self._last_tick:
            raise ParameterError(
                f"frame times of {printable(self.path)} must increase",
                seen=f"{time_s:.6f} s after {self._last_s:.6f} s",
            )
        self._last_tick, self._last_s = tick, time_s
        return tick

    def _require_fit(self, image: Image | YuvImage) -> None:
        if isinstance(image, YuvImage):
            fits = image.matrix == self._coding.matrix and self._pixel_format == "yuv420p"
            kind = f"planes of {image.matrix.name}"
        else:
            fits, kind = image.dtype == np.uint8, str(image.dtype)
        if not fits or image.shape != (self.height, self.width, 3):
            raise ParameterError(
                f"a frame does not fit {printable(self.path)}",
                seen=f"{kind} {image.shape}",
                remedy=f"Give uint8 ({self.height}, {self.width}, 3).",
            )

    def _labelled(self, images: Sequence[Any], times_s: Sequence[float]) -> Iterator[av.VideoFrame]:
        """The labelled frames for the encoder, which nobody else holds."""
        began_s = time.thread_time()
        marked: Sequence[Image | YuvImage]
        if isinstance(self._label, BatchLabel):
            marked = self._label.label_frames(images, times_s)
        else:
            marked = [self._label.label_frame(*each) for each in zip(images, times_s, strict=True)]
        self.label_cpu_s += time.thread_time() - began_s
        for image, labelled in zip(images, marked, strict=True):
            yield self._for_encoder(image, labelled)

    def _for_encoder(self, image: Image | YuvImage, labelled: Image | YuvImage) -> av.VideoFrame:
        if isinstance(labelled, YuvImage):
            is_shared = labelled is image and not labelled.is_for_encoder
            return (labelled.copy() if is_shared else labelled).frame
        if self._pad != (0, 0):
            labelled = np.pad(labelled, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), "edge")
        if self._pixel_format == "rgb24":
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(labelled), format="rgb24")
        return rgb_to_frame(labelled, self._pixel_format, self._reformatter, self._coding)

    def _mux_video(self, frame: av.VideoFrame | None) -> None:
        assert self._container is not None
        for packet in self._video.encode(frame):
            if not packet.duration:  # of the last packet: how long the last frame is shown
                packet.duration = round(1 / self.rate / self._time_base)
            self._container.mux(packet)

    def _write_sound_for(self, frame_s: float) -> None:
        if self._sound is not None:
            self._sound.write_for(frame_s)

    def append_coded(self, segment: PathLike, start_s: float) -> None:
        """Append the frames of a segment as they are coded, instead of frames to be coded.

        Parameters
        ----------
        segment : path
            Written by a `VideoWriter` with the same picture settings, without audio.
        start_s : float
            As it was given to that writer.

        Raises
        ------
        InputError
            It is damaged, or was coded with other settings.
        OutputError
        """
        start_tick = round(start_s / float(self._time_base))
        try:
            for packet in coded_packets(segment, self._time_base, self._video.codec_context):
                assert packet.pts is not None and packet.dts is not None
                packet.pts, decode_tick = packet.pts + start_tick, packet.dts + start_tick
                # Of its first frames, an encoder extrapolates the time of decoding.
                if self._last_decode_tick is not None:
                    decode_tick = max(decode_tick, self._last_decode_tick + 1)
                packet.dts = self._last_decode_tick = decode_tick
                packet.stream = self._video
                packet.duration = round(1 / self.rate / self._time_base)
                self._write_sound_for(float(packet.pts * self._time_base))
                assert self._container is not None
                self._container.mux(packet)
                self.frames += 1
        except (av.FFmpegError, OSError) as e:
            refusal = self._refusal(e)
            self.abort()
            raise refusal from e

    def close(self) -> Path:
        """Finish, flush to the disk and rename to the target; returns the path."""
        if self._done:
            return self.path
        try:
            self._write_sound_for(float("inf"))
            self._mux_video(None)
            assert self._container is not None
            self._container.close()
            self._container = None
            with open(self._temp, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._temp, self.path)
        except (av.FFmpegError, OSError) as e:
            refusal = self._refusal(e)  # before the file is removed, and its space is free again
            self.abort()
            raise refusal from e
        except BaseException:
            self.abort()
            raise
        self._done = True
        return self.path

    def abort(self) -> None:
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

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error_type is None:
            self.close()
        else:
            self.abort()

    def _refusal(self, error: Exception) -> OutputError:
        what = f"cannot write {printable(self._shown_name)}"
        more, began = self._needed_bytes(), self.frames > 0
        return disk.write_error(error, self.path, what=what, needed_bytes=more, was_there=began)

    def _needed_bytes(self) -> int:
        """Size of the whole file, estimated from the frames so far; 0 where that is not known.

        Twice, because a labelled file is written, and then signed in a copy.
        """
        if not self.frames:
            return 0
        with contextlib.suppress(OSError):
            return 2 * self._temp.stat().st_size * self._expected_frames // self.frames
        return 0
