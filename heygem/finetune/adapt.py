"""Articulation: what a person's own minutes add to the lips model.

The networks stay as they are; only how their last layer reads what they have understood is learnt
anew, for all of them at once, as a ridge regression held to the base model (Tikhonov; the base is
the answer for infinite strength). It is convex and closed, so it takes seconds, gives the same
result every time, and with a strength chosen on held-out seconds it cannot forget how to speak.

Measured against it on people never learnt from, at equal footage: a linear map of the coefficients,
wider contexts, and gradient descent on some or all layers; see docs/finetune.md.
"""

import hashlib
import json
import logging
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from threadpoolctl import threadpool_limits

from heygem.config.params import Settings
from heygem.core.errors import Cancelled, InputError
from heygem.finetune import preservation_set
from heygem.finetune.adapter import Change
from heygem.finetune.ridge import Parts, Ridge, modest
from heygem.lips.model import CONTEXT_S, LipsModel
from heygem.lips.trajectory import RATE_HZ, aperture_direction
from heygem.training import metrics
from heygem.training.windows import point_weights

log = logging.getLogger(__name__)

STRENGTHS = tuple(float(s) for s in np.geomspace(0.1, 1000, 13))  # of the pull towards the base
LEAST_S = 6.0  # of speech with a face; less says nothing about a person
SPREADS = (0.5, 6.0)  # by which answers may be stretched to the wanted spread
PERSONAL = (0.7, 1.5)  # how far a person's opening may be from the typical one
SILENT_SHARE, VOICES_SHARE = 0.05, 0.3  # of the rows; see `heygem.finetune.preservation_set`


class FinetuneSettings(Settings):
    """How a person's footage is learnt from."""

    blocks: int = Field(6, ge=3, le=12, description="parts of the footage, each held out once")
    guard_s: float = Field(1.0, ge=1, le=5, description="seconds beside a held-out part unused [s]")
    least_gain: float = Field(
        0.01,
        ge=0,
        le=0.5,
        description="correlation by which the person's own model must be better",
    )


@dataclass
class Adapted:
    """What was learnt.

    Attributes
    ----------
    model : LipsModel
        The base itself where nothing better was found.
    kept_base : bool
    before, after : heygem.training.metrics.Agreement
        Base and adapted model on held-out seconds: every second is judged once, by a fit that saw
        neither it nor the second beside it, its strength chosen without it too.
    history : list of dict
        Each `strength` tried, and the held-out `correlation` at it.
    change : Change or None
        What differs from the base.
    sync : list of heygem.training.metrics.SyncCheck
        How each clip's sound and picture belonged; None for those too short to be looked at.
    clips : list of heygem.training.dataset.Clip
        Those learnt from, put in sync.
    dropped : list of heygem.training.dataset.Clip
        Clips whose sound is not theirs.
    held_out : list of dict
        `clip`, `start_s`, `end_s`, `block` of every part.
    curves : list of dict
        Of each clip used: `real`, `before`, `after` (float32 [N], lip gap), `valid` (bool [N]).
    seconds : float
        Learnt from.
    """

    model: LipsModel
    kept_base: bool
    before: metrics.Agreement
    after: metrics.Agreement
    history: list = field(default_factory=list)
    change: Change | None = None
    sync: list = field(default_factory=list)
    clips: list = field(default_factory=list)
    dropped: list = field(default_factory=list)
    held_out: list = field(default_factory=list)
    curves: list = field(default_factory=list)
    seconds: float = 0.0


def adapt(model, clips, settings=None, *, progress=None, cancel=None, watch=None, checkpoint=None):
    """Teach a lips model one person's articulation.

    Parameters
    ----------
    model : LipsModel
        The base; it is not changed.
    clips : list of heygem.training.dataset.Clip
        Of one person. Each is first put in sync by what the base hears, so that the person's model
        follows the sound whatever the camera did.
    settings : FinetuneSettings, optional
    progress : callable, optional
        `progress(stage, done, total)`; stages are "sync", "hear", "learn".
    cancel : threading.Event, optional
    watch : callable, optional
        `watch(name, value, step)` for curves.
    checkpoint : path, optional
        Keeps what was learnt; called again with the same footage, it is taken from there.

    Returns
    -------
    Adapted

    Raises
    ------
    InputError
        Too little speech, or none whose sound belongs to the picture.
    Cancelled
    """
    settings = settings or FinetuneSettings()
    run = _Run(model, settings, progress, cancel, watch)
    # Matrices this small gain nothing from a third core, and on a busy machine the threads of the
    # others wait for each other (ten times the time, measured).
    with threadpool_limits(2, user_api="blas"):
        clips, sync, dropped = run.in_sync(clips)
        seconds = sum(c.duration_s for c in clips)
        identity = run.identity(clips)
        kept = _kept(checkpoint, identity, clips) if checkpoint is not None else None
        adapted = run.learn(clips) if kept is None else run.judged(clips, *kept)
    _keep(checkpoint, identity, adapted)
    adapted.sync, adapted.clips, adapted.dropped = sync, clips, dropped
    adapted.seconds = seconds
    return adapted


class _Run:
    """One adaptation."""

    def __init__(self, model, settings, progress, cancel, watch):
        self.model, self.settings = model, settings
        self._progress = progress or (lambda stage, done, total: None)
        self._cancel = cancel
        self._watch = watch or (lambda name, value, step: None)
        weighted = model.basis.reshape(len(model.basis), -1) * point_weights()
        # Displacements to coefficients: least squares with the training's own weights.
        self.project = (point_weights()[:, None] * np.linalg.pinv(weighted)).astype(np.float32)
        self.gap = aperture_direction(model.basis)

    def tell(self, stage, done, total):
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("stopped on request", remedy="run it again to go on")
        self._progress(stage, done, total)

    def in_sync(self, clips):
        """Clips with their own lag put right: (clips, Sync of each, clips left out)."""
        clips = [c for c in clips if c.duration_s >= 1]
        said = []
        for i, clip in enumerate(clips):
            self.tell("sync", i, len(clips))
            said.append(self.model.predict_features(clip.features).aperture())
        sync = metrics.check_sync(clips, said) if clips else []
        paired = list(zip(clips, sync, strict=True))
        good = [c.shifted(s.correction_s) for c, s in paired if s.verdict != "off"]
        dropped = [c for c, s in paired if s.verdict == "off"]
        seconds = sum(c.duration_s for c in good)
        if dropped and seconds < LEAST_S:
            raise InputError(
                f"sound and picture do not belong together in {dropped[0].source.path.name}",
                seen=f"best correlation of mouth and sound {max(s.peak for s in sync):.2f}",
                remedy="use footage in which this person is heard, not dubbed or talked over",
            )
        if seconds < LEAST_S:
            raise InputError(
                "too little speech to learn a person from",
                seen=f"{seconds:.1f} s with a face",
                remedy=f"give {LEAST_S:.0f} s or more; a minute is better",
            )
        return good, sync, dropped

    def identity(self, clips):
        """What makes two adaptations the same : str."""
        digest = hashlib.sha256(self.settings.model_dump_json().encode())
        for network in self.model.networks:
            digest.update(network.head.weight.detach().cpu().numpy().tobytes())
        digest.update(self.model.gain.tobytes())
        for clip in clips:
            digest.update(clip.features.tobytes() + clip.displacement.tobytes() + clip.valid.tobytes())
        return digest.hexdigest()

    def learn(self, clips):
        """Fit, judge on what was held out, and keep the base where it is as good."""
        solver, want = self._gather(clips)
        steps = iter(range(1, 1000))
        pairs = self.settings.blocks * (self.settings.blocks + 1) // 2
        tried, outside = solver.search(
            np.array(STRENGTHS), lambda: self.tell("learn", next(steps), pairs + 1)
        )
        for step, (strength, r) in enumerate(zip(STRENGTHS, tried, strict=True)):
            self._watch("held_out/correlation", float(r), step)
            log.info("strength %.2f: held-out correlation %.3f", strength, r)
        strength = STRENGTHS[modest(tried)]
        scale, readout, bias = solver.fit([strength])[0]
        spoken = np.concatenate([_spoken(c) for c in clips])
        # Who was recorded reading syllables, or shouting, is not to mumble or shout ever after.
        least, most = (self.model.opening_std * share for share in PERSONAL)
        real = float(np.concatenate([c.aperture for c in clips])[spoken].std())
        opening_std = float(np.clip(real, least, most))
        answers = float((np.concatenate(outside)[spoken] @ self.gap).std())
        change = Change(
            scale,
            np.stack(np.split(readout, len(self.model.networks))).transpose(0, 2, 1),
            bias,
            float(np.clip(opening_std / max(answers, 1e-6), *SPREADS)),
            opening_std,
        )
        said = [(o @ self.gap * change.spread).astype(np.float32) for o in outside]
        history = [
            {"strength": s, "correlation": float(r)} for s, r in zip(STRENGTHS, tried, strict=True)
        ]
        return self.judged(clips, change, said, history)

    def judged(self, clips, change, said, history):
        """Compare what was said of held-out seconds with what the base says of them."""
        curves = [
            {
                "real": c.aperture,
                "before": self.model.predict_features(c.features).aperture(),
                "after": s,
                "valid": c.valid,
            }
            for c, s in zip(clips, said, strict=True)
        ]
        parts = self.parts(clips)
        before, after = (
            metrics.agreement(
                [
                    # Each part has a fit, and so a mean, of its own.
                    (c[key], c["real"], block == part)
                    for c, block in zip(curves, parts.block, strict=True)
                    for part in range(parts.count)
                ]
            )
            for key in ("before", "after")
        )
        gain = after.correlation - before.correlation
        better = gain >= self.settings.least_gain and _steady(curves, parts)
        model = change.applied(self.model) if better else self.model
        return Adapted(
            model, not better, before, after, history, change,
            held_out=_ranges(parts), curves=curves,
        )  # fmt: skip

    def parts(self, clips):
        """The footage cut into parts that are held out in turn."""
        guard = round(self.settings.guard_s * RATE_HZ)
        return Parts.of([c.valid for c in clips], self.settings.blocks, guard)

    def _gather(self, clips):
        """The regression's rows, and what is wanted of them."""
        solver, want = Ridge(self.parts(clips), self.gap), []
        for i, clip in enumerate(clips):
            wanted = clip.displacement.reshape(len(clip.displacement), -1) @ self.project
            want.append(wanted)
            self.tell("hear", i, len(clips))
            solver.add(*self._hidden(clip.features), wanted)
        rows = sum(len(w) for w in want)
        for share, held in (
            (SILENT_SHARE, [preservation_set.silence(self.model.encoder)]),
            (VOICES_SHARE, preservation_set.voices(self.model.encoder)),
        ):
            count = sum(len(heard) // 2 for heard in held)
            for heard in held:
                self.tell("hear", len(clips), len(clips))
                solver.hold(self._hidden(heard)[0], weight=share * rows / count)
        solver.prepare(lambda: self.tell("hear", len(clips), len(clips)))
        return solver, want

    def _hidden(self, heard):
        """What the networks have understood, and what the base makes of it.

        Returns
        -------
        (float32 [N, networks * width], float32 [N, K])
        """
        caught = []
        hooks = [
            network.head.register_forward_pre_hook(lambda _, given: caught.append(given[0][0]))
            for network in self.model.networks
        ]
        try:
            said = self.model.predict_features(heard).coefficients
        finally:
            for hook in hooks:
                hook.remove()
        # Predicted in chunks, each with context on both sides, network after network.
        around, count = round(CONTEXT_S * RATE_HZ), len(self.model.networks)
        pieces = [torch.cat(caught[i : i + count]) for i in range(0, len(caught), count)]
        hidden = torch.cat([p[:, around : p.shape[1] - around] for p in pieces], 1).T
        return hidden.float().cpu().numpy(), said


def _spoken(clip):
    """Rows with a face and a voice; all with a face where there is no voice to speak of."""
    spoken = clip.speaking
    return spoken if spoken.sum() > 2 * RATE_HZ else clip.valid


def _steady(curves, parts):
    """Whether the gain in correlation, from part to part, is more than chance would give."""
    gains = []
    for number in range(parts.count):
        r = []
        for key in ("before", "after"):
            said, real = (
                np.concatenate(
                    [c[k][b == number] for c, b in zip(curves, parts.block, strict=True)]
                )
                for k in (key, "real")
            )
            if len(said) < RATE_HZ or min(said.std(), real.std()) < 1e-9:
                break
            r.append(np.corrcoef(said, real)[0, 1])
        if len(r) == 2:
            gains.append(r[1] - r[0])
    if len(gains) < 2:
        return False
    return bool(np.mean(gains) > np.std(gains, ddof=1) / np.sqrt(len(gains)))


def _ranges(parts):
    """Where each part lies."""
    found = []
    for clip, block in enumerate(parts.block):
        for part in range(parts.count):
            own = np.flatnonzero(block == part)
            if len(own):
                start_s, end_s = own[0] / RATE_HZ, (own[-1] + 1) / RATE_HZ
                found.append({"part": part, "clip": clip, "start_s": start_s, "end_s": end_s})
    return found


def _keep(checkpoint, identity, adapted):
    """Put what was learnt on disk, whole or not at all."""
    if checkpoint is None:
        return
    change = adapted.change
    part = Path(checkpoint).with_suffix(".part")
    with open(part, "wb") as f:
        np.savez(
            f,
            identity=np.array(identity),
            history=np.array(json.dumps(adapted.history)),
            said=np.concatenate([c["after"] for c in adapted.curves]),
            **vars(change),
        )
    os.replace(part, checkpoint)


def _kept(checkpoint, identity, clips):
    """(Change, what was said of held-out seconds, history) from an earlier call, or None."""
    try:
        with np.load(checkpoint, allow_pickle=False) as z:
            if str(z["identity"]) != identity:
                return None
            numbers = {key: float(z[key]) for key in ("scale", "spread", "opening_std")}
            change = Change(weights=z["weights"], bias=z["bias"], **numbers)
            ends = np.cumsum([len(c.valid) for c in clips])[:-1]
            return change, np.split(z["said"], ends), json.loads(str(z["history"]))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
