"""The two films of a span: the video as filmed and the result, at the size of the preview."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heygem import media, pipeline
from heygem.avatar import Avatar
from heygem.avatar.timeline import planes_in_order
from heygem.config.params import Params
from heygem.core.streaming import one_opencv_thread
from heygem.core.types import Image, IntArray, Progress
from heygem.media.yuv import YuvImage
from heygem.provenance import containers
from heygem.provenance.film import write_film
from heygem.provenance.labeller import ShowFrame
from heygem.rendering.base import Renderer
from heygem.studio.clip import Span
from heygem.studio.downscale import downscale_avatar, downscale_image, preview_px
from heygem.studio.preview_label import preview_settings

MAX_CACHED_FRAME_BYTES = 768 << 20  # 3 s of 1280x720 at 30 fps take 250 MB
ENCODER_PRESET = "ultrafast"  # a preview is watched once: encoding time counts, file size does not
RENDER_THREADS = 2


@dataclass(frozen=True)
class PreviewFilms:
    """Reads the frames of an avatar at the size of the preview, and writes films of them.

    Attributes
    ----------
    avatar : Avatar
        As it was tracked, or a still portrait with its movement.
    scaled : Avatar
        The same at the size of the preview.
    """

    avatar: Avatar
    scaled: Avatar

    @classmethod
    def of(cls, avatar: Avatar) -> "PreviewFilms":
        """The films of an avatar."""
        return cls(avatar, downscale_avatar(avatar, preview_px(avatar)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the preview, pixels."""
        return self.scaled.track.width, self.scaled.track.height

    def read_frames(self, span: Span, report_progress: Progress) -> None:
        """Decode the frames of a span and keep them in it, where memory allows it."""
        width, height = self.size
        if len(span.timeline) * width * height * 3 > MAX_CACHED_FRAME_BYTES:
            return
        frames: list[Image | YuvImage] = []
        for k, image in enumerate(self._read(span.timeline.order)):
            report_progress("decode", k, len(span.timeline))
            frames.append(image)
        span.frames = frames

    def write_source(self, span: Span) -> None:
        """Write the frames of a span as filmed."""
        width, height = self.size
        options = {"label": containers.recorded(self.avatar.path), **self._encoding(span)}
        with media.VideoWriter(span.source, width=width, height=height, **options) as writer:
            for k, image in enumerate(span.frames or self._read(span.timeline.order)):
                writer.write(image, span.times_s[k])

    def write_result(
        self,
        path: Path,
        span: Span,
        params: Params,
        renderer: Renderer,
        facts: dict[str, Any],
        *,
        report_progress: Progress,
        show_frame: ShowFrame | None,
    ) -> int:
        """Render and write a span.

        Parameters
        ----------
        path : Path
        span : Span
        params : Params
            Of label and encoding.
        renderer : Renderer
            Planned for the span.
        facts : dict
            Inputs and permission, for the ledger.
        report_progress, show_frame
            As for `heygem.pipeline.generate`.

        Returns
        -------
        int
            Number of frames left as they were.
        """
        skipped = 0
        images: Any = span.frames or self._read(span.timeline.order)
        finished = pipeline.finished_frames(images, renderer, span.timeline, threads=RENDER_THREADS)

        def frames() -> Iterator[tuple[Image | YuvImage, float]]:
            nonlocal skipped
            for frame in finished:
                report_progress("render", frame.index, len(span.timeline))
                skipped += frame.patch is None
                if frame.patch is not None and isinstance(frame.image, YuvImage):
                    frame.image.is_for_encoder = True  # a copy, while others are the span's own
                yield frame.image, span.times_s[frame.index]

        with one_opencv_thread():
            write_film(
                path,
                frames(),
                size=self.size,
                settings=preview_settings(params.label),
                keep_clear=pipeline.face_boxes(self.scaled),
                parent=self.avatar.path,
                facts=facts | {"preview": True},
                show_frame=show_frame,
                audio=span.audio,
                crf=params.media.crf,
                **self._encoding(span),
            )
        return skipped

    def _read(self, order: IntArray) -> Iterator[Image | YuvImage]:
        """Frames at the preview's size, in the codec's planes where that size allows it."""
        width, height = self.size
        coding = self._video.coding
        if width % 2 == height % 2 == 0 and self.scaled is self.avatar:
            yield from planes_in_order(self.avatar, order, coding)
            return
        for image in pipeline.frames_in_order(self.avatar, order):
            small = downscale_image(image, self.size)
            yield small if width % 2 or height % 2 else YuvImage.from_rgb(small, coding.matrix)

    def _encoding(self, span: Span) -> dict[str, Any]:
        """Options of both films of a span."""
        return {
            "rate": span.timeline.rate,
            "preset": ENCODER_PRESET,
            "pixel_aspect": self._video.pixel_aspect,
            "coding": self._video.coding,
        }

    @property
    def _video(self) -> media.VideoInfo:
        assert self.avatar.info.video is not None  # an avatar has frames
        return self.avatar.info.video
