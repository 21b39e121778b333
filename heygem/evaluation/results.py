"""Results of an evaluation: metrics, rows, clips, and their means over speakers.

Sign of every lag in this package, in its tables and in the documentation: positive means that the
mouth is late. `lag_ms` compares a rendered mouth with the real one, `file_lag_ms` compares the real
mouth with the file's own audio, and `residual_lag_ms` compares a rendered mouth with the real one
after `file_lag_ms` has been corrected.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Methods: what produced the mouth of a row. Tables show them in this order.
REAL, ORACLE, MODEL = "real video", "oracle motion", "model"
FINETUNED = "model, fine-tuned"
BASELINES = (
    "static mouth",
    "source-frame copy",
    "mean mouth",
    "energy-driven jaw",
    "nearest-audio retrieval",
    "shifted audio",
)
METHODS = (REAL, ORACLE, MODEL, FINETUNED, *BASELINES)
# Methods whose mouth is copied from the video: it carries the file's own lag, so correcting that
# lag would put it out of sync.
FROM_VIDEO = (REAL, ORACLE, "source-frame copy", "nearest-audio retrieval")

OWN_AUDIO = "own"  # value of `Row.audio` for the clip's own speech
CROSS_AUDIO = "cross: "  # prefix of `Row.audio` for another person's speech, before the file name


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: its label, its digits, and its ideal value for the table header."""

    label: str
    digits: int
    target: str


METRICS = {
    "aperture_corr": Metric("lip-aperture correlation", 2, "1"),
    "aligned_corr": Metric("aligned correlation", 2, "1"),
    "width_corr": Metric("mouth-width correlation", 2, "1"),
    "lag_ms": Metric("lag ms", 0, "0"),
    "lag_corrected_corr": Metric("correlation, lag corrected", 2, "1"),
    "residual_lag_ms": Metric("residual lag ms", 0, "0"),
    "drift_ms": Metric("drift ms/10 min", 0, "0"),
    "amplitude_ratio": Metric("amplitude ratio", 2, "1"),
    "closure_f1": Metric("closure F1", 2, "1"),
    "word_accuracy": Metric("word accuracy", 2, "as real"),
    "lmd": Metric("LMD", 3, "0"),
    "articulation": Metric("articulation", 2, "1"),
    "silence_leakage": Metric("silence leakage", 3, "0"),
    "leakage_floor": Metric("of it, a motionless mouth", 3, "all"),
    "audio_gap": Metric("audio gap", 2, "high"),
    "audio_p": Metric("audio p", 3, "< 0.01"),
    "jitter": Metric("jitter", 2, "1"),
    "flicker": Metric("flicker", 2, "1"),
    "lost_frames": Metric("frames without a face", 3, "0"),
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
    """The value of one metric, and how far it varies.

    Attributes
    ----------
    value : float
        NaN where the metric is undefined.
    spread : float
        Standard deviation over `windows` parts (windows of a clip, or speakers); NaN below two.
    windows : int
    """

    value: float
    spread: float = float("nan")
    windows: int = 0

    @classmethod
    def over(cls, metric: Callable[[slice], float], parts: Sequence[slice]) -> "Measure":
        """Compute a metric on the whole clip, and its deviation over parts of it."""
        values = [v for v in (metric(part) for part in parts) if math.isfinite(v)]
        return cls(float(metric(slice(None))), _deviation(values), len(values))

    @classmethod
    def mean_of(cls, values: Sequence[float]) -> "Measure":
        """Mean and deviation of finite values; at least one."""
        return cls(float(np.mean(values)), _deviation(values), len(values))

    def format(self, digits: int) -> str:
        """`0.61 ± 0.08`, or a dash where the value is not finite."""
        if not math.isfinite(self.value):
            return "–"
        text = f"{self.value:.{digits}f}"
        return f"{text} ± {self.spread:.{digits}f}" if math.isfinite(self.spread) else text


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


UNDEFINED = Measure(float("nan"))
Measures = dict[str, Measure]  # keys of `METRICS`


@dataclass(frozen=True)
class Row:
    """One method on one clip with one audio track.

    Attributes
    ----------
    clip, speaker, method : str
    audio : str
        `OWN_AUDIO`, or `CROSS_AUDIO` and the name of a file with another person's speech.
    measures : dict of str to Measure
        Keys of `METRICS`; a metric that does not apply to the row is absent.
    library_s, held_out_s : (float, float)
        Seconds of the clip the person was fitted on, and seconds that were evaluated.
    """

    clip: str
    speaker: str
    method: str
    audio: str
    measures: Measures
    library_s: tuple[float, float] = (float("nan"), float("nan"))
    held_out_s: tuple[float, float] = (float("nan"), float("nan"))


@dataclass(frozen=True)
class FinetunePoint:
    """The model after fine-tuning on one amount of a person's footage.

    Attributes
    ----------
    clip, speaker : str
    requested_s, seconds : float
        The amount asked for, and the seconds with a face that were used.
    footage : list of (file name, start_s, end_s)
    held_out_s : (float, float)
        Seconds of `clip` that were evaluated.
    kept_base : bool
        Fine-tuning did not improve on the footage itself, so the base model was kept.
    measures : dict of str to Measure
        `aperture_corr`, `lag_corrected_corr`, `residual_lag_ms`, `amplitude_ratio`.
    """

    clip: str
    speaker: str
    requested_s: float
    seconds: float
    footage: list[tuple[str, float, float]]
    held_out_s: tuple[float, float]
    kept_base: bool
    measures: Measures = field(default_factory=dict)


@dataclass(frozen=True)
class ClipResult:
    """Everything that was measured on one clip.

    Attributes
    ----------
    rows : list of Row
    facts : dict
        Hash of the footage, library and held-out ranges, the file's lag, the number of words;
        `not_rendered` holds the reason where `rows` is empty.
    points : list of FinetunePoint
    """

    rows: list[Row]
    facts: dict[str, Any]
    points: list[FinetunePoint] = field(default_factory=list)


@dataclass
class Results:
    """Results of one model on all clips.

    Attributes
    ----------
    model : str
    rows : list of Row
    skipped : dict of str to str
        Clip to the reason why it has no rows.
    facts : dict of str to dict
        Clip to `ClipResult.facts`.
    points : list of FinetunePoint
    """

    model: str
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: list[FinetunePoint] = field(default_factory=list)

    def add(self, name: str, result: ClipResult) -> None:
        """Add the result of one clip."""
        self.rows.extend(result.rows)
        self.facts[name] = result.facts
        self.points.extend(result.points)
        if "not_rendered" in result.facts:
            self.skipped[name] = result.facts["not_rendered"]

    def methods(self) -> list[str]:
        """Methods that have rows, in the order of `METHODS`, unknown ones last."""
        present = {row.method for row in self.rows}
        return [m for m in METHODS if m in present] + sorted(present - set(METHODS))

    def means(self, clips: Collection[str] | None = None) -> dict[str, Measures]:
        """Mean over speakers with the clips' own audio: {method: {metric: Measure}}.

        Clips of one speaker are averaged first, so that a speaker with many clips does not weigh
        more. `clips` restricts the mean to clips of these names.
        """
        means: dict[str, Measures] = {}
        own = [
            row
            for row in self.rows
            if row.audio == OWN_AUDIO and (clips is None or row.clip in clips)
        ]
        for method in self.methods():
            means[method] = {}
            for key in METRICS:
                by_speaker = defaultdict(list)
                for row in own:
                    measure = row.measures.get(key)
                    if row.method == method and measure and math.isfinite(measure.value):
                        by_speaker[row.speaker].append(measure.value)
                values = [float(np.mean(v)) for v in by_speaker.values()]
                if values:
                    means[method][key] = Measure.mean_of(values)
        return means

    def groups(self) -> dict[str, set[str]]:
        """Names of clips: {description: names}.

        All; those of speakers on whom nothing was chosen (`EvaluateSettings.report_speakers`) and
        the others; and those whose audio is in sync, by the manifest and by the sync check.
        """
        names = {row.clip for row in self.rows}
        groups = {"all clips": names}
        reported = {name for name in names if self.facts.get(name, {}).get("report")}
        if reported and reported != names:
            groups["report speakers"], groups["choose speakers"] = reported, names - reported
        for description, key in (("manifest: ok", "sync"), ("sync check: ok", "sync_check")):
            in_sync = {name for name in names if self.facts.get(name, {}).get(key) == "ok"}
            if in_sync and in_sync != names:
                groups[description] = in_sync
        return groups

    def finetune_means(self) -> dict[float, Measures]:
        """Mean over clips after each amount of footage: {seconds: {metric: Measure}}.

        Each amount is a mean over the clips that have that much footage; `Measure.windows` is
        their number, so amounts with different numbers are not comparable.
        """
        means: dict[float, Measures] = {}
        for requested_s in sorted({p.requested_s for p in self.points}):
            points = [p for p in self.points if p.requested_s == requested_s]
            means[requested_s] = {}
            for key in sorted({k for p in points for k in p.measures}):
                values = [p.measures[key].value for p in points]
                values = [v for v in values if math.isfinite(v)]
                if values:
                    means[requested_s][key] = Measure.mean_of(values)
        return means


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Keys of the metrics that any of the rows has, in the order of `METRICS`."""
    present = {key for row in rows for key in row.measures}
    return [key for key in METRICS if key in present]
