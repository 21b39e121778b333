"""The side-by-side film: several videos in step in one, labelled like any result."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from heygem import media
from heygem.config.params import LabelSettings
from heygem.core.errors import Cancelled, InputError
from heygem.core.files import sha256
from heygem.core.types import Image, PathLike, Progress
from heygem.experiments.comparison import contact_sheet
from heygem.provenance.film import write_film
from heygem.provenance.visible import label_strip_px

COLUMNS = 4  # panels in a row
MAX_VIDEOS = 9
WIDTH_PX, PANEL_PX = 1920, 540  # maximum width of the film, and height of a panel
MAX_RATE_HZ = 60.0


@dataclass(frozen=True)
class Film:
    """A written film: path, frames, seconds, and the state of its label layers."""

    path: Path
    frames: int
    duration_s: float
    label: dict[str, Any]


def side_by_side(
    videos: Sequence[PathLike],
    out: PathLike,
    *,
    captions: Sequence[str],
    sound: int = 0,
    settings: LabelSettings | None = None,
    facts: dict[str, Any] | None = None,
    progress: Progress | None = None,
    cancel: Event | None = None,
) -> Film:
    """Write one video that shows several, each by its own timestamps.

    The sources keep the labels in their frames; the film gets its own visible label above the
    panels, and metadata, watermark, credentials and a ledger row like any result.

    Parameters
    ----------
    videos
        Two to nine results.
    out
        `.mp4`
    captions
        Below the panels.
    sound
        Index of the video whose audio the film gets.
    settings
        Of the label.
    facts
        For the ledger, such as the runs' ids.
    progress, cancel
        As for `heygem.pipeline.generate`.

    Raises
    ------
    InputError, OutputError, Cancelled
    """
    if not 2 <= len(videos) <= MAX_VIDEOS:
        raise InputError(
            "this many videos do not go beside each other", seen=len(videos), remedy="choose 2 to 9"
        )
    out = Path(out)
    settings = settings if settings is not None else LabelSettings()
    infos = [media.probe(video) for video in videos]
    page = _Page([_video_info(info) for info in infos], captions, settings)
    rate = min(max(float(_video_info(info).rate) for info in infos), MAX_RATE_HZ)
    total = max(1, round(max(info.duration_s for info in infos) * rate))
    frames = _reporting(_frames(videos, page, rate, total), total, progress, cancel)
    label = write_film(
        out,
        ((image, k / rate) for k, image in enumerate(frames)),
        size=(page.width, page.height),
        rate=rate,
        settings=settings,
        keep_clear=[page.panels_box],
        parent=videos[sound],
        facts={"comparison": [sha256(video) for video in videos], **(facts or {})},
        audio=media.AudioFile(videos[sound]) if infos[sound].audio is not None else None,
        preset="veryfast",
    )
    return Film(out, total, total / rate, label)


def _frames(videos: Sequence[PathLike], page: "_Page", rate: float, total: int) -> Iterator[Image]:
    """Frames of the film, without a label."""
    players = [_Player(video) for video in videos]
    for k in range(total):
        yield page.draw([player.frame_at(k / rate) for player in players])


def _reporting(
    frames: Iterator[Image], total: int, progress: Progress | None, cancel: Event | None
) -> Iterator[Image]:
    """The frames, with a report before each; stops with Cancelled on request."""
    for k in range(total):
        if cancel is not None and cancel.is_set():
            raise Cancelled("stopped on request")
        if progress is not None:
            progress("film", k, total)
        yield next(frames)


def _video_info(info: media.MediaInfo) -> media.VideoInfo:
    if info.video is None:
        raise InputError("this file has no picture", seen=info.path)
    return info.video


class _Player:
    """Frames of a video at ascending times; the last one stays after its end."""

    def __init__(self, path: PathLike) -> None:
        self._frames = self._read(path)
        self._current = next(self._frames)
        self._next: media.Frame | None = next(self._frames, None)

    @staticmethod
    def _read(path: PathLike) -> Iterator[media.Frame]:
        with media.VideoReader(path) as reader:
            yield from reader

    def frame_at(self, time_s: float) -> Image:
        """The frame that is displayed at a time."""
        while self._next is not None and self._next.time_s <= time_s + 1e-3:
            self._current, self._next = self._next, next(self._frames, None)
        return self._current.image


class _Page:
    """Layout of the panels below a strip for the label; all sizes are even."""

    def __init__(
        self,
        videos: Sequence[media.VideoInfo],
        captions: Sequence[str],
        settings: LabelSettings,
    ) -> None:
        columns = 3 if len(videos) in (5, 6) else min(COLUMNS, len(videos))
        aspects = [v.width * float(v.pixel_aspect) / v.height for v in videos]
        aspect = max(aspects)
        panel_px = min(PANEL_PX, round(WIDTH_PX / columns / aspect), max(v.height for v in videos))
        self.panel_height = panel_px - panel_px % 2
        self.panel_width = 2 * math.ceil(self.panel_height * aspect / 2)
        self._caption_px = 2 * round(self.panel_height * 0.03 + 10)
        rows = math.ceil(len(videos) / columns)
        self.width = self.panel_width * columns
        panels_px = (self.panel_height + self._caption_px) * rows
        self._strip_px = label_strip_px(settings, self.width, panels_px)
        self.height = self._strip_px + panels_px
        self.panels_box = (0, self._strip_px, self.width, self.height)
        self._aspects, self._columns = aspects, columns
        self._blank = np.full((self.height, self.width, 3), contact_sheet.BACKGROUND, np.uint8)
        for k, text in enumerate(captions):
            x, y = self.panel_origin(k)
            top, bottom = y + self.panel_height, y + self.panel_height + self._caption_px
            caption = contact_sheet.draw_caption(text, self.panel_width, self._caption_px)
            self._blank[top:bottom, x : x + self.panel_width] = caption

    def panel_origin(self, k: int) -> tuple[int, int]:
        """Upper left corner (x, y) of panel `k`, pixels."""
        row, column = divmod(k, self._columns)
        y = self._strip_px + row * (self.panel_height + self._caption_px)
        return column * self.panel_width, y

    def draw(self, images: Sequence[Image]) -> Image:
        """The page with one image in each panel."""
        page = self._blank.copy()
        for k, (image, aspect) in enumerate(zip(images, self._aspects, strict=True)):
            x, y = self.panel_origin(k)
            panel = contact_sheet.fit_into(
                image, self.panel_width, self.panel_height, aspect=aspect
            )
            page[y : y + self.panel_height, x : x + self.panel_width] = panel
        return page
