"""The fine-tuning page: footage, consent, progress, and a comparison with the base model."""

import html
import io
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np
import traitlets

from heygem import media
from heygem.config.params import Params
from heygem.core.error_texts import localized_finding
from heygem.core.errors import HeygemError, ParameterError
from heygem.core.i18n import language_of, translator
from heygem.core.types import PathLike, Progress
from heygem.media.container import FOOTAGE_SUFFIXES
from heygem.studio import before_after, charts
from heygem.studio.background import LatestTask
from heygem.studio.before_after import BeforeAfter
from heygem.studio.clip import ApertureCurves
from heygem.studio.consent_form import ConsentForm
from heygem.studio.file_picker import FilePicker, FilesPicker
from heygem.studio.images import data_url, encode_jpeg
from heygem.studio.player import Player
from heygem.studio.status import StatusBar
from heygem.studio.style import PageStyle
from heygem.studio.urls import page_url

if TYPE_CHECKING:
    from heygem.finetune.coverage import Coverage
    from heygem.finetune.run import FinetuneResult

REDRAW_S = 0.2  # interval between two redraws of the fine-tuning curves
HELD_OUT_S = 8.0  # seconds of held-out footage whose aperture is plotted
CURVE_HZ = 50  # frame rate of the held-out curves
METRICS = {"correlation": ".2f", "aligned": ".2f", "lag_ms": ".0f", "ratio": ".2f"}
_NAME = re.compile(r"\w[\w-]{0,63}")


class FinetunePage(w.VBox):
    """Fine-tunes an avatar of one person and compares it with the base model.

    Parameters
    ----------
    videos : list of str, optional
        Footage chosen initially.
    name : str
        Name of the person; the result is `out/NAME.heygem`.
    consent : dict, optional
        Initial answers of the form; see `ConsentForm`.
    params : heygem.config.params.Params, optional
        Selects the face, the base model, and the rendering of the comparison.
    folder : path
        Initial folder of the file browsers.
    out : path
        Receives the avatar bundles; inside the folder that the page's server serves.
    previews : path
        Receives the clips of the comparison.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.

    Attributes
    ----------
    result : heygem.finetune.run.FinetuneResult or None
        Outcome of the last fine-tuning.
    before_after : heygem.studio.before_after.BeforeAfter or None
        The last comparison with the base model.
    """

    result = traitlets.Any(None, allow_none=True)
    before_after = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        *,
        videos: Sequence[str] = (),
        name: str = "",
        consent: dict[str, str] | None = None,
        params: Params | None = None,
        folder: PathLike = ".",
        out: PathLike = "runs/people",
        previews: PathLike = "runs/preview",
        lang: str = "",
    ) -> None:
        self.translate = translate = translator(lang)
        self.params = params if params is not None else Params()
        self.out, self._previews = Path(out), Path(previews)
        self.task, self.sum_task = LatestTask(), LatestTask()
        self.status = StatusBar(self.task, translate, keeps_place=False)
        self._series: dict[str, list[tuple[float, float]]] = {}
        self._redrawn_s, self._lock = 0.0, threading.Lock()
        self._kept_base = False  # of the last result
        start = Path(videos[0]).absolute().parent if videos else folder
        self.footage = FilesPicker(
            translate("footage"), start, kind="video", suffixes=FOOTAGE_SUFFIXES,
            translate=translate,
        )  # fmt: skip
        self.footage_sum = w.HTML()
        self.footage.children = (*self.footage.children, self.footage_sum)
        self.consent = ConsentForm(translate, consent)
        self.name = w.Text(value=name, description=translate("person_name"))
        self.name.add_class("hg-labelled-above")
        self.same_person = w.Checkbox(
            False, description=translate("same_person"), indent=False,
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.button = w.Button(
            description=translate("finetune"), button_style="success", icon="graduation-cap"
        )
        self.metrics = w.HTML()
        self.results = self._build_results(folder)
        form = w.VBox(
            [self.consent, self.name, self.same_person, w.HBox([self.button]), self.status],
            layout=w.Layout(flex="1 1 420px", padding="0 0 0 12px"),
        )
        inputs = w.HBox([self.footage, form], layout=w.Layout(flex_flow="row wrap"))
        inputs.add_class("hg-card")
        super().__init__(
            [PageStyle(), inputs, self.metrics, self.results],
            layout=w.Layout(width="100%"),
        )
        self.button.on_click(lambda _: self.finetune())
        self.compare_button.on_click(lambda _: self.compare())
        self.footage.list.observe(lambda _: self._show_footage(), "value")
        self.task.observe(self._busy_changed, "busy")
        listed = {path for _, path in self.footage.list.options}
        chosen = [str(Path(video).absolute()) for video in videos]
        self.footage.list.value = tuple(path for path in chosen if path in listed)

    def _build_results(self, folder: PathLike) -> w.VBox:
        translate = self.translate
        self.message = w.HTML()
        self.curves, self.crops, self.coverage = w.HTML(), w.HTML(), w.HTML()
        self.audio = FilePicker(
            translate("compare_sound"), folder, kind="audio", translate=translate
        )
        self.compare_button = w.Button(
            description=translate("compare_models"), icon="play", disabled=True,
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.player = Player(self._translate_models)
        self.player.layout.display = "none"
        audio = w.Accordion([self.audio], titles=[translate("compare_sound")], selected_index=None)
        return w.VBox(
            [
                self.message, self.curves, audio, w.HBox([self.compare_button]), self.player,
                self.crops, self.coverage,
            ],
            layout=w.Layout(display="none", width="100%"),
        )  # fmt: skip

    # --- actions of the user ---

    def finetune(self) -> None:
        """Fine-tune on the chosen footage; an interrupted run is continued."""
        try:
            footage, out = self._inputs()
            statement = self.consent.statement()
        except HeygemError as error:
            self.status.show_error(error)
            return
        self._series, self.metrics.value = {}, ""
        self.results.layout.display = "none"  # those of an earlier run
        same_person = footage if self.same_person.value else []

        def work(progress: Progress, cancel: threading.Event) -> "FinetuneResult":
            from heygem.finetune.run import finetune

            return finetune(
                footage, out, consent=statement, face=self.params.face, base=self.params.lips.model,
                same_person=same_person, progress=progress, cancel=cancel,
                watch=self._metric_logged,
            )  # fmt: skip

        self.task.submit(work, self._finetuned)

    def compare(self) -> None:
        """Render the same speech with the base model and with the fine-tuned avatar."""
        footage, _ = self._inputs()
        bundle, audio = self.result.path, self.audio.chosen or footage[0]
        basis = self.consent.basis.value
        params = self.params.override({"label.consent": basis} if basis else {})

        def work(progress: Progress, cancel: threading.Event) -> BeforeAfter:
            return before_after.render_before_after(
                footage[0], bundle, audio, params, folder=self._previews, progress=progress,
                cancel=cancel,
            )  # fmt: skip

        self.task.submit(work, self._compared)

    # --- updates of the page ---

    def _inputs(self) -> tuple[list[str], Path]:
        """The chosen footage and the bundle to write.

        Raises
        ------
        ParameterError
            No footage is chosen, or the name cannot be that of a folder.
        """
        footage = list(self.footage.list.value)
        if not footage:
            raise ParameterError("no footage is chosen", remedy="choose one or more above")
        name = self.name.value.strip()
        if not name:
            raise ParameterError("the person has no name", remedy="type one above the button")
        if not _NAME.fullmatch(name):
            raise ParameterError(
                "the name of the person cannot be the name of a folder",
                seen=repr(name[:80]),
                remedy="use up to 64 letters, digits, - and _",
            )
        return footage, self.out / f"{name}{media.BUNDLE_SUFFIX}"

    def _show_footage(self) -> None:
        """Show how much footage is chosen; its pictures are in the picker."""
        chosen = list(self.footage.list.value)

        def work(progress: Progress, cancel: threading.Event) -> str:
            lengths_s = [_duration_s(path) for path in chosen]
            total = self.translate("footage_sum", count=len(chosen), seconds=sum(lengths_s))
            return f"<div>{html.escape(total)}</div>" if chosen else ""

        def show(content: str) -> None:
            self.footage_sum.value = content

        self.sum_task.submit(work, show)

    def _metric_logged(self, name: str, value: float, step: int) -> None:
        with self._lock:
            self._series.setdefault(name, []).append((float(step), float(value)))
            now_s = time.monotonic()
            if now_s - self._redrawn_s < REDRAW_S:
                return
            self._redrawn_s = now_s
            self._draw_metrics()

    def _draw_metrics(self) -> None:
        title = html.escape(self.translate("penalties"))
        help_ = html.escape(self.translate("penalties_help"))
        # What is plotted over is no time: the regularisations that were tried, weak to strong.
        named = {self.translate("measure_correlation"): p for p in self._series.values()}
        plots = charts.metrics_html(named) if named else ""
        text = f'<span class="hg-field-title">{title}</span><p class="hg-note">{help_}</p>'
        self.metrics.value = f"{text}{plots}" if plots else ""

    def _busy_changed(self, change: dict[str, Any]) -> None:
        if change["new"]:
            return
        with self._lock:
            self._draw_metrics()
        interrupted = self.result is None and self.task.stopped
        key = "finetune_continue" if interrupted else "finetune"
        self.button.description = self.translate(key)

    def _finetuned(self, result: "FinetuneResult") -> None:
        translate = self.translate
        self.result = result
        self._kept_base = result.adaptation.kept_base
        before, after = result.adaptation.before, result.adaptation.after
        rows = "".join(
            f"<tr><td style='padding-right:14px'>{html.escape(translate('measure_' + key))}</td>"
            f"<td>{getattr(before, key):{shown}}</td><td>{getattr(after, key):{shown}}</td></tr>"
            for key, shown in METRICS.items()
        )
        judged = "finetuned_rejected" if self._kept_base else "finetuned_model"
        headings = (translate("measure"), translate("base_model"), translate(judged))
        header = "".join(
            f"<th style='padding-right:14px'>{html.escape(text)}</th>" for text in headings
        )
        found = [self._localized(note) for note in result.notes]
        lines = [*([translate("kept_base")] if self._kept_base else []), *found]
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in lines)
        self.message.value = (
            f"<div>✔ {html.escape(translate('finetuned', folder=result.path))}</div>"
            f"<ul>{notes}</ul>"
            f'<table style="text-align:left"><tr>{header}</tr>{rows}</table>'
        )
        self.curves.value = self._held_out_html(result.adaptation.curves)
        self.coverage.value = self._coverage_html(result.coverage)
        self.results.layout.display = "flex"
        self.compare_button.disabled = False
        self.compare()

    def _localized(self, note: str) -> str:
        """A note of the fine-tuning in the language of the page."""
        return localized_finding(note, language_of(self.translate), "finetune")

    def _held_out_html(self, held_out: Sequence[dict[str, Any]]) -> str:
        """Lip aperture on held-out seconds: filmed, base model, fine-tuned model."""
        if not held_out:
            return ""
        clip = held_out[0]
        rows = min(len(clip["real"]), round(HELD_OUT_S * CURVE_HZ))
        times_s = np.arange(rows) / CURVE_HZ
        curves = ApertureCurves(
            times_s, clip["before"][:rows], clip["after"][:rows], 0.0, rows / CURVE_HZ
        )
        plot = charts.aperture_html(curves, self._translate_fits, filmed=clip["real"][:rows])
        title = html.escape(self.translate("measure"))
        return f"<b>{title}</b><div class='hg-player hg-curves'>{plot}</div>"

    def _coverage_html(self, coverage: "Coverage") -> str:
        from heygem.finetune.coverage import plot

        buffer = io.BytesIO()
        plot(coverage).savefig(buffer, format="png", dpi=90)
        missing = "".join(f"<li>{html.escape(self._localized(t))}</li>" for t in coverage.words)
        missing = (
            f"<ul>{missing}</ul>" if missing else html.escape(self.translate("nothing_missing"))
        )
        title = html.escape(self.translate("coverage"))
        address = data_url(buffer.getvalue(), "image/png")
        return (
            f"<b>{title}</b><div>{missing}</div>"
            f'<img alt="{title}" style="max-width:100%" src="{address}">'
        )

    def _compared(self, comparison: BeforeAfter) -> None:
        player, curves = self.player, comparison.curves
        with player.hold_sync():
            player.labels = {key: self._translate_models(key) for key in player.labels}
            player.source_url = page_url(comparison.before.result)
            player.result_url = page_url(comparison.after.result)
            player.start_s, player.length_s = curves.start_s, comparison.after.length_s
            player.frame_s = comparison.frame_s
            player.curves = charts.aperture_html(
                curves, self._translate_models, filmed=comparison.filmed
            )
        player.layout.display = "block"
        keys = ("filmed", "base_model", self._made_with)
        self.crops.value = "".join(
            _figure_html(encode_jpeg(row), self.translate(key))
            for key, row in zip(keys, comparison.rows, strict=True)
        )
        self.before_after = comparison

    @property
    def _made_with(self) -> str:
        """Key of what the bundle renders with: its own model, or the base's and its own mouths."""
        return "base_with_library" if self._kept_base else "finetuned_model"

    def _translate_models(self, key: str, /, **values: object) -> str:
        """Texts of player and plots, whose two sides are the two ways to render here."""
        base, made = "base_model", self._made_with
        models = {"source": base, "before": base, "result": made, "after": made}
        return self.translate(models.get(key, key), **values)

    def _translate_fits(self, key: str, /, **values: object) -> str:
        """Texts of the plot of held-out seconds, whose curves are the two fits."""
        judged = "finetuned_rejected" if self._kept_base else "finetuned_model"
        return self.translate({"before": "base_model", "after": judged}.get(key, key), **values)


def _duration_s(path: str) -> float:
    """Length of a film; 0 for a file whose verdict says that it cannot be read."""
    try:
        return media.probe(path).duration_s or 0.0
    except HeygemError:
        return 0.0


def _figure_html(data: bytes, caption: str) -> str:
    text = html.escape(caption)
    if not data:
        return f"<div>{text}</div>"
    return (
        '<figure style="display:inline-block;margin:4px;max-width:100%">'
        f'<img alt="" style="max-width:100%" src="{data_url(data)}">'
        f'<figcaption style="font-size:11px;line-height:1.3">{text}</figcaption></figure>'
    )
