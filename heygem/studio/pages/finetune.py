"""The few-shot page: footage, consent, learning as it goes, and what it changed."""

import base64
import html
import io
import re
import threading
import time
from pathlib import Path

import ipywidgets as w
import numpy as np
import traitlets

from heygem import media
from heygem.config.params import Params
from heygem.core.errors import HeygemError, ParameterError
from heygem.core.i18n import words
from heygem.studio import before_after, charts, images
from heygem.studio.background import LatestTask
from heygem.studio.consent_form import ConsentForm
from heygem.studio.file_picker import FilePicker, FilesPicker, thumbnail
from heygem.studio.player import Player
from heygem.studio.session import ApertureCurves
from heygem.studio.status import StatusBar
from heygem.studio.urls import page_url

MOST_PICTURES = 12
PICTURE_PX = 120
DRAW_S = 0.2  # between two drawings of what is being learnt
HELD_OUT_S = 8.0  # of lip curve shown from the held-out seconds
MEASURES = ("correlation", "aligned", "lag_ms", "ratio")
_NAME = re.compile(r"\w[\w-]{0,63}")


class Teaching(w.VBox):
    """Teaches the kit one person and shows before and after.

    Parameters
    ----------
    videos : list of str, optional
        Footage that is chosen from the start.
    name : str
        Of the person; the result is `out/NAME.heygem`.
    consent : dict, optional
        What the form holds from the start; see `ConsentForm`.
    params : heygem.config.params.Params, optional
        Which face, and how before and after are drawn.
    folder : path
        Where the file browsers start.
    out : path
        Receives the taught people; inside what the page's server serves.
    previews : path
        Receives the clips of before and after.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.

    Attributes
    ----------
    result : heygem.finetune.run.FinetuneResult or None
        What was learnt last.
    shown : heygem.studio.before_after.BeforeAfter or None
        What was drawn of it last.
    """

    result = traitlets.Any(None, allow_none=True)
    shown = traitlets.Any(None, allow_none=True)

    def __init__(
        self, *, videos=(), name="", consent=None, params=None, folder=".", out="runs/people",
        previews="runs/preview", lang="",
    ):  # fmt: skip
        self.say = say = words(lang)
        self.params = params if params is not None else Params()
        self.out, self._previews = Path(out), Path(previews)
        self.worker, self.looker = LatestTask(), LatestTask()
        self.status = StatusBar(self.worker, say)
        self._series, self._drawn, self._lock = {}, 0.0, threading.Lock()
        start = Path(videos[0]).absolute().parent if videos else folder
        self.footage = FilesPicker(say("footage"), start, kind="video", say=say)
        self.pictures = w.HTML()
        self.consent = ConsentForm(say, consent)
        self.name = w.Text(
            value=name, description=say("person_name"), style={"description_width": "170px"},
            layout=w.Layout(width="100%", max_width="520px"),
        )  # fmt: skip
        self.button = w.Button(
            description=say("finetune"), button_style="success", icon="graduation-cap"
        )
        self.learning = w.HTML()
        self.said = w.HTML()
        self.audio = FilePicker(say("compare_sound"), folder, kind="audio", say=say)
        self.compare_button = w.Button(
            description=say("compare_models"), icon="play", disabled=True
        )
        self.player = Player(self._side)
        self.player.layout.display = "none"
        self.grid = w.HTML()
        self.curves = w.HTML()
        self.coverage = w.HTML()
        sound = w.Accordion([self.audio], titles=[say("compare_sound")], selected_index=None)
        self.results = w.VBox(
            [
                self.said, self.curves, sound, w.HBox([self.compare_button]), self.player,
                self.grid, self.coverage,
            ],
            layout=w.Layout(display="none", width="100%"),
        )  # fmt: skip
        asked = w.VBox(
            [self.consent, self.name, w.HBox([self.button])], layout=w.Layout(flex="1 1 420px")
        )
        super().__init__(
            [
                w.HBox([self.footage, asked], layout=w.Layout(flex_flow="row wrap")),
                self.pictures, self.status, self.learning, self.results,
            ],
            layout=w.Layout(width="100%"),
        )  # fmt: skip
        self.button.on_click(lambda _: self.teach())
        self.compare_button.on_click(lambda _: self.compare())
        self.footage.list.observe(lambda _: self._look(), "value")
        self.worker.observe(self._ended, "busy")
        known = {path for _, path in self.footage.list.options}
        chosen = [str(Path(video).absolute()) for video in videos]
        self.footage.list.value = tuple(path for path in chosen if path in known)

    # --- what the user does ---

    def teach(self):
        """Learn the person; what was begun before goes on."""
        try:
            footage, out = self._asked()
            statement = self.consent.statement()
        except HeygemError as error:
            self.status.show(error)
            return
        self._series, self.learning.value = {}, ""

        def work(progress, cancel):
            from heygem.finetune.run import finetune

            return finetune(
                footage, out, consent=statement, face=self.params.face, base=self.params.lips.model,
                progress=progress, cancel=cancel, watch=self._watched,
            )  # fmt: skip

        self.worker.submit(work, self._learnt)

    def compare(self):
        """Draw the same words with the base model and with the person's own."""
        footage, _ = self._asked()
        taught, sound = self.result.path, self.audio.chosen or footage[0]
        basis = self.consent.basis.value
        params = self.params.override({"label.consent": basis} if basis else {})

        def work(progress, cancel):
            return before_after.render_before_after(
                footage[0], taught, sound, params, folder=self._previews, progress=progress,
                cancel=cancel,
            )  # fmt: skip

        self.worker.submit(work, self._contrasted)

    # --- what follows from it ---

    def _asked(self):
        """Footage and the folder to make, or what is missing."""
        footage = list(self.footage.list.value)
        if not footage:
            raise ParameterError("no footage is chosen", remedy=self.say("footage"))
        name = self.name.value.strip()
        if not _NAME.fullmatch(name):
            raise ParameterError(
                "the person has no name that can be a folder's",
                seen=repr(name[:80]),
                remedy="use up to 64 letters, digits, - and _",
            )
        return footage, self.out / f"{name}{media.BUNDLE_SUFFIX}"

    def _look(self):
        chosen = list(self.footage.list.value)

        def work(progress, cancel):
            cells, seconds = [], 0.0
            for path in chosen[:MOST_PICTURES]:
                data, said = thumbnail(path, PICTURE_PX)
                seconds += media.probe(path).duration_s or 0.0
                cells.append(_figure(data, f"{Path(path).name}: {said}"))
            total = self.say("footage_sum", count=len(chosen), seconds=seconds)
            return f"<div>{html.escape(total)}</div>{''.join(cells)}" if chosen else ""

        def show(content):
            self.pictures.value = content

        self.looker.submit(work, show)

    def _watched(self, name, value, step):
        with self._lock:
            self._series.setdefault(name, []).append((float(step), float(value)))
            now = time.monotonic()
            if now - self._drawn < DRAW_S:
                return
            self._drawn = now
            self._draw_learning()

    def _draw_learning(self):
        title = html.escape(self.say("learning"))
        drawn = charts.learning_html(self._series) if self._series else ""
        self.learning.value = f"<b>{title}</b>{drawn}" if drawn else ""

    def _ended(self, change):
        if change["new"]:
            return
        with self._lock:
            self._draw_learning()
        begun = self.result is None and self.worker.stopped
        self.button.description = self.say("finetune_continue" if begun else "finetune")

    def _learnt(self, taught):
        say = self.say
        self.result = taught
        before, after = taught.adapted.before, taught.adapted.after
        rows = "".join(
            f"<tr><td>{html.escape(say('measure_' + key))}</td>"
            f"<td>{getattr(before, key):.2f}</td><td>{getattr(after, key):.2f}</td></tr>"
            for key in MEASURES
        )
        heads = (say("measure"), say("base_model"), say("finetuned_model"))
        head = "".join(f"<th style='padding-right:14px'>{html.escape(text)}</th>" for text in heads)
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in taught.notes)
        self.said.value = (
            f"<div>✔ {html.escape(say('finetuned', folder=taught.path))}</div><ul>{notes}</ul>"
            f'<table style="text-align:left"><tr>{head}</tr>{rows}</table>'
        )
        self.curves.value = self._held_out(taught.adapted)
        self.coverage.value = self._covered(taught.coverage)
        self.results.layout.display = "flex"
        self.compare_button.disabled = False
        self.compare()

    def _held_out(self, adapted):
        """The lip gap on held-out seconds: real, base, own."""
        if not adapted.curves:
            return ""
        found = adapted.curves[0]
        rows = min(len(found["real"]), round(HELD_OUT_S * 50))
        curves = ApertureCurves(
            np.arange(rows) / 50, found["before"][:rows], found["after"][:rows], 0.0, rows / 50
        )
        drawn = charts.curves_html(curves, self._side, real=found["real"][:rows])
        title = html.escape(self.say("measure"))
        return f"<b>{title}</b><div class='hg-player hg-curves'>{drawn}</div>"

    def _covered(self, seen):
        from heygem.finetune import coverage

        buffer = io.BytesIO()
        coverage.plot(seen).savefig(buffer, format="png", dpi=90)
        missing = "".join(f"<li>{html.escape(text)}</li>" for text in seen.words)
        missing = f"<ul>{missing}</ul>" if missing else html.escape(self.say("nothing_missing"))
        picture = base64.b64encode(buffer.getvalue()).decode()
        title = html.escape(self.say("coverage"))
        return (
            f"<b>{title}</b><div>{missing}</div>"
            f'<img alt="{title}" style="max-width:100%" src="data:image/png;base64,{picture}">'
        )

    def _contrasted(self, drawn):
        player = self.player
        with player.hold_sync():
            player.source_url = page_url(drawn.before.result)
            player.result_url = page_url(drawn.after.result)
            player.start_s, player.length_s = drawn.curves.start_s, drawn.after.length_s
            player.frame_s = drawn.frame_s
            player.curves = charts.curves_html(drawn.curves, self._side, real=drawn.filmed)
        player.layout.display = "block"
        names = ("filmed", "base_model", "finetuned_model")
        self.grid.value = "".join(
            _figure(images.encode_jpeg(row), self.say(name), wide=True)
            for name, row in zip(names, drawn.rows, strict=True)
        )
        self.shown = drawn

    def _side(self, key, **values):
        """Words of the player, whose two sides are two models here."""
        names = {"source": "base_model", "result": "finetuned_model", "before": "base_model"}
        return self.say(names.get(key, "finetuned_model" if key == "after" else key), **values)


def _figure(data, caption, *, wide=False):
    text = html.escape(caption)
    if not data:
        return f"<div>{text}</div>"
    address = base64.b64encode(data).decode()
    width = "100%" if wide else f"{PICTURE_PX + 20}px"
    return (
        f'<figure style="display:inline-block;margin:4px;max-width:{width}">'
        f'<img alt="" style="max-width:100%" src="data:image/jpeg;base64,{address}">'
        f'<figcaption style="font-size:11px;line-height:1.3">{text}</figcaption></figure>'
    )
