"""Several videos beside each other in one, in step, labelled as what it shows."""

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heygem import __version__, media, provenance
from heygem.config.params import LabelSettings
from heygem.core.errors import Cancelled, InputError, OutputError
from heygem.core.files import sha256
from heygem.experiments.comparison import contact_sheet
from heygem.provenance import keys as signing
from heygem.provenance.ledger import Ledger

ACROSS = 4  # panels in a row
MOST = 9
WIDTH_PX, PANEL_PX = 1920, 540  # widest film, tallest panel
FASTEST_HZ = 60.0


@dataclass(frozen=True)
class Film:
    """What was written: path, frames, seconds, and what the label layer says of it."""

    path: Path
    frames: int
    duration_s: float
    label: dict


def side_by_side(
    videos, out, *, captions, sound=0, settings=None, facts=None, progress=None, cancel=None
) -> Film:
    """Write one video that shows several, each at its own frames' times.

    The sources' labels stay in their pictures; the film gets its own over the head strip, the
    metadata, the invisible mark, credentials and a row in the ledger, as any result does.

    Parameters
    ----------
    videos : list of path
        Two to nine results.
    out : path
        `.mp4`.
    captions : list of str
        Under the panels.
    sound : int
        Whose sound is heard.
    settings : heygem.config.params.LabelSettings, optional
    facts : dict, optional
        For the ledger, such as the runs' ids.
    progress : callable, optional
        `progress(stage, done, total)`.
    cancel : threading.Event, optional

    Raises
    ------
    InputError, OutputError, Cancelled
    """
    if not 2 <= len(videos) <= MOST:
        raise InputError(
            "this many videos do not go beside each other", seen=len(videos), remedy="choose 2 to 9"
        )
    out, hidden = Path(out), Path(out).with_name(f".{os.getpid()}-{Path(out).name}")
    settings = settings if settings is not None else LabelSettings()
    infos = [media.probe(video) for video in videos]
    page = _Page([info.video for info in infos], captions, settings)
    rate = min(max(float(info.video.rate) for info in infos), FASTEST_HZ)
    duration_s = max(info.duration_s for info in infos)
    total = max(1, round(duration_s * rate))
    keys = signing.ensure()
    labeller = provenance.Labeller(
        settings, page.width, page.height, keys=keys, keep_clear=[page.panels_box]
    )
    heard = media.AudioFile(videos[sound]) if infos[sound].audio is not None else None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writer = media.VideoWriter(
            hidden, width=page.width, height=page.height, rate=rate, audio=heard,
            preset="veryfast", metadata=labeller.tags,
        )  # fmt: skip
        shows = [_Show(video) for video in videos]
        with writer:
            for k in range(total):
                if cancel is not None and cancel.is_set():
                    raise Cancelled("stopped on request")
                if progress is not None:
                    progress("film", k, total)
                moment = k / rate
                images = [show.at(moment) for show in shows]
                writer.write(labeller.label_frame(page.draw(images), moment), moment)
        said = labeller.finalize(
            hidden,
            ledger=Ledger(keys=keys),
            parent=videos[sound],
            title=out.name,
            facts={
                "comparison": [sha256(video) for video in videos],
                "params": {"label": settings.model_dump(mode="json")},
                **(facts or {}),
            },
            version=__version__,
        )
        os.replace(hidden, out)
    except OSError as error:
        raise OutputError(
            f"cannot write {out.name}", seen=error.strerror, remedy="check the output folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink()
    return Film(out, total, total / rate, said)


class _Show:
    """A video that is asked for later and later moments; its last frame stays."""

    def __init__(self, path):
        self._frames = iter(self._read(path))
        self._now = next(self._frames)
        self._next = next(self._frames, None)

    @staticmethod
    def _read(path):
        with media.VideoReader(path) as reader:
            yield from reader

    def at(self, moment):
        while self._next is not None and self._next.time_s <= moment + 1e-3:
            self._now, self._next = self._next, next(self._frames, None)
        return self._now.image


class _Page:
    """Where each panel lies, below a strip that is free for the label; even sizes throughout."""

    def __init__(self, videos, captions, settings):
        across = min(ACROSS, len(videos)) if len(videos) != 5 and len(videos) != 6 else 3
        aspects = [v.width * float(v.pixel_aspect) / v.height for v in videos]
        aspect = max(aspects)
        tall = min(PANEL_PX, round(WIDTH_PX / across / aspect), max(v.height for v in videos))
        self._tall = tall - tall % 2
        self._wide = 2 * math.ceil(self._tall * aspect / 2)
        self._line = 2 * round(self._tall * 0.03 + 10)  # height of a caption
        rows = math.ceil(len(videos) / across)
        self.width = self._wide * across
        below = (self._tall + self._line) * rows
        # The label grows with the picture, which grows with the strip.
        strip = provenance.VisibleLabel(settings, self.width, round(below * 1.15)).box
        self._head = 0 if strip is None else 2 * (strip[3] + min(strip[1], below - strip[3])) // 2
        self.height = self._head + below
        self.panels_box = (0, self._head, self.width, self.height)
        self._aspects, self._across = aspects, across
        self._blank = np.full((self.height, self.width, 3), contact_sheet.PAPER, np.uint8)
        for k, text in enumerate(captions):
            x, y = self._place(k)
            line = contact_sheet.caption(text, self._wide, self._line)
            self._blank[y + self._tall : y + self._tall + self._line, x : x + self._wide] = line

    def _place(self, k):
        row, column = divmod(k, self._across)
        return column * self._wide, self._head + row * (self._tall + self._line)

    def draw(self, images):
        page = self._blank.copy()
        for k, (image, aspect) in enumerate(zip(images, self._aspects, strict=True)):
            x, y = self._place(k)
            panel = contact_sheet.fit(image, self._wide, self._tall, aspect=aspect)
            page[y : y + self._tall, x : x + self._wide] = panel
        return page
