"""One table and one figure per model: every row a method on a clip, anchors among them."""

import csv
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# How the rows of one clip are called, best known mouth first.
REAL, TRACED, MODEL = "real video", "real mouth, rendered", "model"
ADAPTED = "model, few-shot"
ANCHORS = (
    "frozen mouth",
    "source-frame copy",
    "mean mouth",
    "energy-driven jaw",
    "nearest-audio retrieval",
    "shuffled audio",
)
# Mouths that come from the picture, at the file's own lag, and not from the sound.
SEEN = (REAL, TRACED, "source-frame copy", "nearest-audio retrieval")
METHODS = (REAL, TRACED, MODEL, ADAPTED, *ANCHORS)


@dataclass(frozen=True)
class Metric:
    """How a measure is shown. `target` is what right looks like, in words for the header."""

    label: str
    digits: int
    target: str


METRICS = {
    "aperture_r": Metric("aperture r", 2, "1"),
    "aligned_r": Metric("aligned r", 2, "1"),
    "width_r": Metric("width r", 2, "1"),
    "lag_ms": Metric("lag ms", 0, "0"),
    "own_r": Metric("r, file's lag right", 2, "1"),
    "own_lag_ms": Metric("lag left ms", 0, "0"),
    "drift_ms": Metric("drift ms/10 min", 0, "0"),
    "open_ratio": Metric("open ratio", 2, "1"),
    "closure_f1": Metric("closure F1", 2, "1"),
    "words": Metric("words read", 2, "as real"),
    "lmd": Metric("LMD", 3, "0"),
    "articulation": Metric("articulation", 2, "1"),
    "leak": Metric("leak", 3, "0"),
    "audio_gap": Metric("audio gap", 2, "high"),
    "audio_p": Metric("audio p", 3, "< 0.01"),
    "jitter": Metric("jitter", 2, "1"),
    "flicker": Metric("flicker", 2, "1"),
    "seam_gradient": Metric("seam gradient", 2, "1"),
    "seam_delta_e": Metric("seam ΔE", 1, "0"),
    "lip_ring_gradient": Metric("lip ring gradient", 2, "1"),
    "sharpness": Metric("sharpness", 2, "1"),
    "psnr_db": Metric("PSNR dB", 1, "high"),
    "ssim": Metric("SSIM", 3, "1"),
    "changed_outside_px": Metric("changed outside px", 0, "0"),
}


@dataclass(frozen=True)
class Measure:
    """One number of one row, and how far it varies between windows of the clip.

    spread : standard deviation over `windows` windows; NaN where it has none.
    """

    value: float
    spread: float = float("nan")
    windows: int = 0

    @classmethod
    def over(cls, measure, parts):
        """A measure on the whole, and its deviation over parts of it.

        measure : callable, takes a slice; parts : list of slice
        """
        values = [v for v in (measure(part) for part in parts) if math.isfinite(v)]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        return cls(float(measure(slice(None))), spread, len(values))

    def shown(self, digits):
        """`0.61 ± 0.08`, or a dash where nothing could be measured."""
        if not math.isfinite(self.value):
            return "–"
        text = f"{self.value:.{digits}f}"
        return f"{text} ± {self.spread:.{digits}f}" if math.isfinite(self.spread) else text


NOTHING = Measure(float("nan"))


@dataclass(frozen=True)
class Row:
    """One method on one clip under one sound.

    Attributes
    ----------
    clip, speaker, method : str
    audio : str
        "own", or "other: FILE" for somebody else's speech.
    measures : dict of str to Measure
        Keys of `METRICS`; a measure that makes no sense for the row is absent.
    library_s, held_out_s : (float, float)
        What was learnt from and what was judged, seconds of the clip.
    """

    clip: str
    speaker: str
    method: str
    audio: str
    measures: dict
    library_s: tuple = (float("nan"), float("nan"))
    held_out_s: tuple = (float("nan"), float("nan"))


def _markdown(header, lines):
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(str(c) for c in row) + " |" for row in rows) + "\n"


@dataclass
class Table:
    """All rows of one model."""

    model: str
    rows: list = field(default_factory=list)
    skipped: dict = field(default_factory=dict)  # clip -> why it has no rows
    facts: dict = field(default_factory=dict)  # clip -> what it is, see `protocol.Judged`
    points: list = field(default_factory=list)  # of `few_shot.Point`

    def add(self, name, judged):
        """Take what is known of one clip, a `heygem.evaluation.protocol.Judged`."""
        self.rows.extend(judged.rows)
        self.facts[name] = judged.facts
        self.points.extend(judged.points)
        if "not_drawn" in judged.facts:
            self.skipped[name] = judged.facts["not_drawn"]

    def _methods(self):
        there = {row.method for row in self.rows}
        return [m for m in METHODS if m in there] + sorted(there - set(METHODS))

    def _metrics(self, rows):
        there = {key for row in rows for key in row.measures}
        return [key for key in METRICS if key in there]

    def means(self, clips=None):
        """Mean over clips under their own sound, and its spread: {method: {metric: Measure}}.

        Clips of one speaker are averaged first, so that whoever left more clips does not
        weigh more. `clips` names those that count; default: all.
        """
        out = {}
        own = [r for r in self.rows if r.audio == "own" and (clips is None or r.clip in clips)]
        for method in self._methods():
            out[method] = {}
            for key in METRICS:
                by_speaker = defaultdict(list)
                for row in own:
                    measure = row.measures.get(key)
                    if row.method == method and measure and math.isfinite(measure.value):
                        by_speaker[row.speaker].append(measure.value)
                values = [float(np.mean(v)) for v in by_speaker.values()]
                if values:
                    spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
                    out[method][key] = Measure(float(np.mean(values)), spread, len(values))
        return out

    def metrics(self):
        """Flat numbers of the model's own rows for a tracking server: {metric: mean}."""
        return {key: m.value for key, m in self.means().get(MODEL, {}).items()}

    def by_sync(self):
        """Names of clips by who calls their sound in sync: {words: set of clip names}."""
        judged = {row.clip for row in self.rows}
        groups = {"all clips": judged}
        for words, key in (("a manifest: ok", "sync"), ("our own check: ok", "sync_check")):
            fine = {name for name in judged if self.facts.get(name, {}).get(key) == "ok"}
            if fine and fine != judged:
                groups[words] = fine
        return groups

    def _sync_lines(self):
        keys = ("aperture_r", "aligned_r", "own_r", "lag_ms", "own_lag_ms")
        lines = []
        for words, clips in self.by_sync().items():
            means = self.means(clips)
            for method in (m for m in (REAL, TRACED, MODEL, ADAPTED) if means.get(m)):
                shown = [means[method].get(k, NOTHING).shown(METRICS[k].digits) for k in keys]
                speakers = {r.speaker for r in self.rows if r.clip in clips and r.method == method}
                lines.append([words, len(speakers), method, *shown])
        return ["in sync says", "speakers", "method", *(METRICS[k].label for k in keys)], lines

    def few_shot(self):
        """Mean over speakers after each amount: {seconds: {metric: Measure}}.

        Only speakers with every amount up to the largest that most have would be comparable;
        so each amount is a mean over those who have it, and says how many they are.
        """
        out = {}
        for asked_s in sorted({p.asked_s for p in self.points}):
            here = [p for p in self.points if p.asked_s == asked_s]
            out[asked_s] = {}
            for key in sorted({k for p in here for k in p.measures}):
                values = [p.measures[key].value for p in here]
                values = [v for v in values if math.isfinite(v)]
                if values:
                    spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
                    out[asked_s][key] = Measure(float(np.mean(values)), spread, len(values))
        return out

    def to_markdown(self):
        """Every method over all speakers, by sync, the model clip by clip, the few-shot curve."""
        means, keys = self.means(), self._metrics(self.rows)
        header = ["method", *(f"{METRICS[k].label} ({METRICS[k].target})" for k in keys)]
        lines = [
            [m, *(means[m].get(k, NOTHING).shown(METRICS[k].digits) for k in keys)] for m in means
        ]
        speakers = len({row.speaker for row in self.rows})
        text = f"## {self.model}: mean ± deviation over {speakers} speakers\n\n"
        text += _markdown(header, lines)
        text += "\n## Sound and picture\n\n" + _markdown(*self._sync_lines())
        own = [row for row in self.rows if row.method in (MODEL, ADAPTED)]
        keys = self._metrics(own)
        lines = [
            [
                row.clip,
                row.method,
                row.audio,
                "{:.1f}–{:.1f}".format(*row.library_s),
                "{:.1f}–{:.1f}".format(*row.held_out_s),
                *(row.measures.get(k, NOTHING).shown(METRICS[k].digits) for k in keys),
            ]
            for row in own
        ]
        text += f"\n## {self.model}: each clip ± deviation over its windows\n\n"
        text += _markdown(
            [
                "clip",
                "method",
                "sound",
                "learnt from s",
                "judged on s",
                *(METRICS[k].label for k in keys),
            ],
            lines,
        )
        for clip, facts in self.facts.items():
            if "words" in facts:
                text += f"\nWords read in {clip}: {facts['words']}; always saying the most "
                text += f"frequent one would be right for {facts['words_chance']:.2f}.\n"
        if self.points:
            text += "\n## The person's own footage: predicted against tracked\n\n"
            text += _markdown(*self._few_shot_lines())
        for clip, why in self.skipped.items():
            text += f"\nNot judged: {clip}: {why}\n"
        return text

    def _few_shot_lines(self):
        keys = ("aperture_r", "own_r", "own_lag_ms", "open_ratio")
        lines = [
            [
                point.clip,
                f"{point.seconds:.0f}",
                "{:.1f}–{:.1f}".format(*point.judged_s),
                "base" if point.kept_base else "the person's",
                *(point.measures.get(k, NOTHING).shown(METRICS[k].digits) for k in keys),
            ]
            for point in self.points
        ]
        header = ["clip", "footage s", "judged on s", "model", *(METRICS[k].label for k in keys)]
        return header, lines

    def to_csv(self, path):
        """One line per clip, method and sound; `<metric>` and `<metric>_spread` columns."""
        keys = self._metrics(self.rows)
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["model", "speaker", "clip", "audio", "method"]
                + ["library_start_s", "library_end_s", "held_out_start_s", "held_out_end_s"]
                + [name for k in keys for name in (k, f"{k}_spread")]
            )
            for row in self.rows:
                line = [self.model, row.speaker, row.clip, row.audio, row.method]
                line += [f"{v:.3f}" for v in (*row.library_s, *row.held_out_s)]
                for key in keys:
                    measure = row.measures.get(key, NOTHING)
                    line += [f"{measure.value:.5g}", f"{measure.spread:.5g}"]
                writer.writerow(line)

    def figure(self):
        """Dots per speaker and a bar at the mean, one panel per measure, one line per method."""
        from matplotlib.figure import Figure  # half a second that no import should cost

        means = self.means()
        shown = {key for measures in means.values() for key in measures}
        keys = [k for k in METRICS if k in shown - {"audio_p", "changed_outside_px"}]
        methods = self._methods()
        columns = 4
        lines = math.ceil(len(keys) / columns)
        figure = Figure(figsize=(3.1 * columns + 1.2, (0.26 * len(methods) + 0.75) * lines + 0.4))
        axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axis, key in zip(axes.flat, keys, strict=False):
            for i, method in enumerate(methods):
                values = [
                    row.measures[key].value
                    for row in self.rows
                    if row.method == method and row.audio == "own" and key in row.measures
                ]
                colour = "tab:red" if method == MODEL else "0.45"
                axis.plot(values, [i] * len(values), "o", ms=3, color=colour, alpha=0.5)
                if key in means[method]:
                    axis.plot(means[method][key].value, i, "|", ms=14, mew=2, color=colour)
            metric = METRICS[key]
            axis.set_title(f"{metric.label} (right: {metric.target})", fontsize=8)
            axis.set_yticks(range(len(methods)), methods, fontsize=7)
            axis.set_ylim(len(methods) - 0.5, -0.5)
            axis.tick_params(axis="x", labelsize=7)
            axis.grid(axis="x", alpha=0.3)
        for axis in axes.flat[len(keys) :]:
            axis.set_visible(False)
        figure.suptitle(f"{self.model}: re-tracked output, held-out part of each clip", fontsize=10)
        figure.tight_layout(rect=(0, 0, 1, 0.98))
        return figure

    def few_shot_figure(self):
        """Correlation over seconds of own footage: a thin line per clip, and the mean."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 3.6))
        axis = figure.subplots()
        for clip in dict.fromkeys(point.clip for point in self.points):
            own = [point for point in self.points if point.clip == clip]
            values = [point.measures["own_r"].value for point in own]
            axis.plot([p.seconds for p in own], values, "o-", ms=3, lw=0.8, alpha=0.6, label=clip)
        means = {
            s: m["own_r"] for s, m in self.few_shot().items() if m.get("own_r", NOTHING).windows > 1
        }
        axis.errorbar(
            list(means),
            [m.value for m in means.values()],
            [m.spread for m in means.values()],
            color="tab:red", marker="s", capsize=3, label="mean ± deviation",
        )  # fmt: skip
        axis.set_xlabel("seconds of own footage")
        axis.set_ylabel(METRICS["own_r"].label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6)
        figure.tight_layout()
        return figure

    def save(self, folder):
        """Write tables and figures into a folder; returns their paths.

        `table.csv`, `table.md`, `figure.png`, and with a few-shot curve `few_shot.csv` and
        `few_shot.png`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "table.csv", folder / "table.md", folder / "figure.png"]
        self.to_csv(paths[0])
        paths[1].write_text(self.to_markdown(), encoding="utf-8")
        self.figure().savefig(paths[2], dpi=110)
        if self.points:
            paths += [folder / "few_shot.csv", folder / "few_shot.png"]
            header, lines = self._few_shot_lines()
            with paths[3].open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *lines])
            self.few_shot_figure().savefig(paths[4], dpi=110)
        return paths


@dataclass(frozen=True)
class ClipResult:
    """What is known of one clip.

    rows : list of heygem.evaluation.results.Row
    facts : dict
        Hash of the footage, what was learnt from and judged, the file's sync, the words.
    points : list of heygem.evaluation.finetune_curve.Point
    """

    rows: list
    facts: dict
    points: list = field(default_factory=list)
