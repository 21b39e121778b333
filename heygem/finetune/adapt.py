"""Speaker adaptation of the lips model: a person's own articulation.

The networks stay as they are; only their last layer is fitted, for all networks at once, as a ridge
regression with the base model as prior (Tikhonov; with an infinite penalty the base remains). It is
convex and in closed form, so it takes seconds and gives the same result every time, and with a
penalty chosen on held-out seconds it does not overfit.

Compared with it on people not trained on, at equal footage: a linear map of the coefficients, wider
contexts, and gradient descent on some or all layers; see docs/finetune.md.
"""

import hashlib
import itertools
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from heygem.core.errors import Cancelled, InputError
from heygem.core.files import replacing
from heygem.core.types import BoolArray, FloatArray, PathLike, Progress, Watch
from heygem.finetune import preservation_set
from heygem.finetune.adapter import Adapter
from heygem.finetune.held_out import (
    agreement_before_and_after,
    held_out_ranges,
    is_improvement,
    judged_parts,
)
from heygem.finetune.ridge import Folds, Ridge, choose_penalty
from heygem.finetune.settings import FinetuneSettings
from heygem.lips.model import LipsModel
from heygem.lips.trajectory import RATE_HZ, aperture_direction
from heygem.training import metrics
from heygem.training.clip import Clip
from heygem.training.coefficients import projection
from heygem.training.sync import SyncCheck, check_sync

log = logging.getLogger(__name__)

PENALTIES = tuple(float(p) for p in np.geomspace(0.1, 1000, 13))
MIN_SPEECH_S = 6.0  # with a face; less is no sample of a person's articulation
GAIN_LIMITS = (0.5, 6.0)  # of the predictions' amplitude
# A person's amplitude over the typical one. Atypical footage, such as syllables read one by one,
# must not set how far the mouth opens in everything else.
AMPLITUDE_LIMITS = (0.7, 1.5)
# Share of the rows; see `heygem.finetune.preservation_set`.
SILENCE_SHARE, SPEECH_SHARE = 0.05, 0.3


@dataclass
class Adaptation:
    """Result of fine-tuning the lips model.

    Attributes
    ----------
    model : LipsModel
        The base itself where the fine-tuned model is no better.
    kept_base : bool
        Whether that is so.
    before, after : heygem.training.metrics.Agreement
        The base, and what fine-tuning makes of it, on held-out seconds: each is predicted once, by
        a fit that used neither it nor the second beside it, nor chose its penalty by it, and judged
        in sync by the lag that the other seconds have. Whether the fit or the base is judged there
        is decided by the other folds too, so that a gain is not one that was chosen.
    history : list of dict
        Each `penalty`, and the held-out `correlation` with it.
    adapter : Adapter or None
        Difference from the base.
    sync : list of heygem.training.sync.SyncCheck
        Of each clip of a second or more.
    clips : list of heygem.training.clip.Clip
        Those used, in sync.
    dropped : list of heygem.training.clip.Clip
        Clips whose sound is not that of the picture.
    held_out : list of dict
        `part`, `clip`, `start_s`, `end_s` of every stretch of a fold.
    curves : list of dict
        Lip aperture in each clip used: `real`, `before`, `after` (float32 [N]), `valid` (bool [N]).
    seconds : float
        Of footage used.
    """

    model: LipsModel
    kept_base: bool
    before: metrics.Agreement
    after: metrics.Agreement
    history: list[dict[str, float]] = field(default_factory=list)
    adapter: Adapter | None = None
    sync: list[SyncCheck] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    dropped: list[Clip] = field(default_factory=list)
    held_out: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class _Fit:
    """What a checkpoint keeps: an adapter, predictions of held-out seconds, `history`."""

    adapter: Adapter
    predicted: list[FloatArray]
    history: list[dict[str, float]]


def adapt(
    model: LipsModel,
    clips: Sequence[Clip],
    settings: FinetuneSettings | None = None,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    watch: Watch | None = None,
    checkpoint: PathLike | None = None,
) -> Adaptation:
    """Fine-tune a lips model to one person's articulation.

    Parameters
    ----------
    model : LipsModel
        The base; it is not changed.
    clips : sequence of heygem.training.clip.Clip
        Of one person. Each is first brought in sync with the base model's prediction, so that the
        fine-tuned model follows the sound, whatever the lag of the camera.
    settings : FinetuneSettings, optional
    progress : callable, optional
        `progress(stage, done, total)`; stages are "sync", "encode", "learn".
    cancel : threading.Event, optional
    watch : callable, optional
        `watch(name, value, step)` for curves.
    checkpoint : path, optional
        File of the fit; called again with the same footage and settings, it is read from there.

    Raises
    ------
    InputError
        Too little speech, or none whose sound belongs to the picture.
    Cancelled
    """
    run = _Run(model, settings or FinetuneSettings(), progress, cancel, watch)
    # Matrices this small gain nothing from a third core, and on a busy machine the threads wait for
    # each other (ten times the time, measured).
    with threadpool_limits(2, user_api="blas"):
        used, sync, dropped = run.check_sync(clips)
        identity = run.identity(used)
        fit = None if checkpoint is None else _read_checkpoint(checkpoint, identity, used)
        if fit is None:
            fit = run.fit(used)
            if checkpoint is not None:
                _write_checkpoint(checkpoint, identity, fit)
        adaptation = run.evaluate(used, fit)
    adaptation.sync, adaptation.clips, adaptation.dropped = sync, used, dropped
    adaptation.seconds = sum(c.duration_s for c in used)
    return adaptation


class _Run:
    """One adaptation: the model, its settings and its callbacks."""

    def __init__(
        self,
        model: LipsModel,
        settings: FinetuneSettings,
        progress: Progress | None,
        cancel: threading.Event | None,
        watch: Watch | None,
    ) -> None:
        self.model, self.settings = model, settings
        self._progress: Progress = progress or (lambda stage, done, total: None)
        self._cancel = cancel
        self._watch: Watch = watch or (lambda name, value, step: None)
        self.project = projection(model.basis)
        self.aperture = aperture_direction(model.basis)

    def check_sync(self, clips: Sequence[Clip]) -> tuple[list[Clip], list[SyncCheck], list[Clip]]:
        """Correct each clip's lag: (clips in sync, check of each given, clips dropped)."""
        clips = [c for c in clips if c.duration_s >= 1]
        predicted = []
        for i, clip in enumerate(clips):
            self._report_progress("sync", i, len(clips))
            predicted.append(self.model.predict_features(clip.features))
        sync = check_sync(clips, predicted) if clips else []
        pairs = list(zip(clips, sync, strict=True))
        used = [c.shifted(s.correction_s) for c, s in pairs if s.verdict != "off"]
        dropped = [c for c, s in pairs if s.verdict == "off"]
        seconds = sum(c.duration_s for c in used)
        if dropped and seconds < MIN_SPEECH_S:
            raise InputError(
                f"sound and picture do not belong together in {dropped[0].source.path.name}",
                seen=f"best correlation of mouth and sound {max(s.peak for s in sync):.2f}",
                remedy="use footage with this person's own voice, not dubbed or talked over",
            )
        if seconds < MIN_SPEECH_S:
            raise InputError(
                "too little speech to fine-tune on",
                seen=f"{seconds:.1f} s with a face",
                remedy=f"give {MIN_SPEECH_S:.0f} s or more; a minute is better",
            )
        return used, sync, dropped

    def identity(self, clips: Sequence[Clip]) -> str:
        """Hash of model, settings and footage: a fit of the same identity is the same."""
        digest = hashlib.sha256(self.settings.model_dump_json().encode())
        for network in self.model.networks:
            digest.update(network.weights["head.weight"].tobytes())
        digest.update(self.model.gain.tobytes())
        for clip in clips:
            for values in (clip.features, clip.displacement, clip.valid):
                digest.update(values.tobytes())
        return digest.hexdigest()

    def fit(self, clips: Sequence[Clip]) -> _Fit:
        """Fit the last layer, its penalty chosen by cross-validation."""
        ridge = self._ridge(clips)
        steps = itertools.count(1)
        total = self.settings.cv_folds * (self.settings.cv_folds + 1) // 2 + 1
        correlations, held_out = ridge.cross_validate(
            PENALTIES, lambda: self._report_progress("learn", next(steps), total)
        )
        for step, (penalty, r) in enumerate(zip(PENALTIES, correlations, strict=True)):
            self._watch("held_out/correlation", float(r), step)
            log.info("penalty %.2f: held-out correlation %.3f", penalty, r)
        scale, weights, bias = ridge.fit([PENALTIES[choose_penalty(correlations)]])[0]
        speaking = np.concatenate([_speaking(c) for c in clips])
        low, high = (self.model.opening_std * limit for limit in AMPLITUDE_LIMITS)
        real_std = float(np.concatenate([c.aperture for c in clips])[speaking].std())
        opening_std = float(np.clip(real_std, low, high))
        predicted_std = float((np.concatenate(held_out)[speaking] @ self.aperture).std())
        adapter = Adapter(
            scale,
            np.stack(np.split(weights, len(self.model.networks))).transpose(0, 2, 1),
            bias,
            float(np.clip(opening_std / max(predicted_std, 1e-6), *GAIN_LIMITS)),
            opening_std,
        )
        return _Fit(
            adapter,
            [(p @ self.aperture * adapter.spread).astype(np.float32) for p in held_out],
            [
                {"penalty": p, "correlation": float(r)}
                for p, r in zip(PENALTIES, correlations, strict=True)
            ],
        )

    def evaluate(self, clips: Sequence[Clip], fit: _Fit) -> Adaptation:
        """Compare fit and base on held-out seconds; keep the base where the fit is no better."""
        base = [self.model.predict_features(clip.features) for clip in clips]
        curves: list[dict[str, Any]] = [
            {
                "real": c.aperture,
                "before": trajectory.aperture(),
                "after": predicted,
                "valid": c.valid,
            }
            for c, trajectory, predicted in zip(clips, base, fit.predicted, strict=True)
        ]
        folds = self._folds(clips)
        judged = [
            part
            for fold in range(folds.count)
            for part in judged_parts(clips, base, curves, folds, fold)
        ]
        least = self.settings.min_improvement
        before, after = agreement_before_and_after(judged, least)
        is_better = is_improvement(judged, least)
        return Adaptation(
            fit.adapter.apply(self.model) if is_better else self.model,
            not is_better,
            before,
            after,
            fit.history,
            fit.adapter,
            held_out=held_out_ranges(folds),
            curves=curves,
        )

    def _report_progress(self, stage: str, done: int, total: int) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("stopped on request", remedy="run it again to continue")
        self._progress(stage, done, total)

    def _folds(self, clips: Sequence[Clip]) -> Folds:
        gap = round(self.settings.cv_gap_s * RATE_HZ)
        return Folds.split([c.valid for c in clips], self.settings.cv_folds, gap)

    def _ridge(self, clips: Sequence[Clip]) -> Ridge:
        """The regression with all rows of the footage and of the preservation set."""
        ridge = Ridge(self._folds(clips), self.aperture)
        for i, clip in enumerate(clips):
            self._report_progress("encode", i, len(clips))
            target = clip.displacement.reshape(len(clip.displacement), -1) @ self.project
            ridge.add(*self.model.hidden_and_coefficients(clip.features), target)
        rows = sum(len(clip.displacement) for clip in clips)
        embedding = self.model.embedding
        for share, preserved in (
            (SILENCE_SHARE, [preservation_set.silence(embedding=embedding)]),
            (SPEECH_SHARE, preservation_set.speech(embedding=embedding)),
        ):
            count = sum(len(features) // 2 for features in preserved)
            for features in preserved:
                self._report_progress("encode", len(clips), len(clips))
                hidden, _ = self.model.hidden_and_coefficients(features)
                ridge.preserve(hidden, weight=share * rows / count)
        ridge.prepare(lambda: self._report_progress("encode", len(clips), len(clips)))
        return ridge


def _speaking(clip: Clip) -> BoolArray:
    """Rows with a face and a voice; all with a face where hardly any voice is detected."""
    speaking = clip.speaking
    return speaking if speaking.sum() > 2 * RATE_HZ else clip.valid


def _write_checkpoint(path: PathLike, identity: str, fit: _Fit) -> None:
    """Write a fit to disk, atomically."""
    with replacing(path) as staged, staged.open("wb") as f:
        np.savez(
            f,
            identity=np.array(identity),
            history=np.array(json.dumps(fit.history)),
            predicted=np.concatenate(fit.predicted),
            **vars(fit.adapter),
        )


def _read_checkpoint(path: PathLike, identity: str, clips: Sequence[Clip]) -> _Fit | None:
    """The fit of an earlier call with the same identity, if there is one."""
    try:
        with np.load(path, allow_pickle=False) as z:
            if str(z["identity"]) != identity:
                return None
            numbers = {key: float(z[key]) for key in ("scale", "spread", "opening_std")}
            adapter = Adapter(weights=z["weights"], bias=z["bias"], **numbers)
            ends = np.cumsum([len(c.valid) for c in clips])[:-1]
            return _Fit(adapter, np.split(z["predicted"], ends), json.loads(str(z["history"])))
    except Exception:  # damaged: headers raise whatever NumPy and zip have, as TokenError
        return None
