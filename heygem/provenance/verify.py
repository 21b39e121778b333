"""Reading a file's labels back, layer by layer, as somebody who did not make it would.

Each layer gets one of four verdicts. `compliant`: there and as it should be. `noncompliant`: there
and wrong. `not found`: looked for and absent. `inconclusive`: cannot be told, with the reason; the
visible label of unknown wording is one, for a machine cannot vouch for what people see.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from heygem import media
from heygem.config.params import DEFAULT_LABEL
from heygem.core.errors import HeygemError
from heygem.provenance import containers, credentials
from heygem.provenance.aigc import parse
from heygem.provenance.fingerprint import Fingerprint, PictureHasher, hash_sound
from heygem.provenance.visible import SHORTEST_S, template
from heygem.provenance.watermark.detect import WINDOW_S, WatermarkReader

COMPLIANT = "compliant"
NONCOMPLIANT = "noncompliant"
NOT_FOUND = "not found"
INCONCLUSIVE = "inconclusive"
LAYERS = ("visible", "metadata", "c2pa", "mark")
_SEEN = 0.55  # correlation of the label's edges; unlabelled frames stay under 0.35
_LOOKS = 6  # frames in which the visible label is looked for
_SHORT = 480  # px of the shorter side it is looked for in
_CORE = "AI生成"
_USUAL = (DEFAULT_LABEL,)


@dataclass(frozen=True)
class LayerReading:
    """One layer: its verdict, what was found in words, and the values."""

    verdict: str
    findings: list = field(default_factory=list)
    values: dict = field(default_factory=dict)


@dataclass(frozen=True)
class LabelReading:
    """All layers of one file, and its fingerprint for looking it up.

    Attributes
    ----------
    path : Path
    layers : dict of str to LayerReading
        `visible`, `metadata`, `c2pa`, `mark`.
    fingerprint : heygem.provenance.fingerprint.Fingerprint
    """

    path: Path
    layers: dict
    fingerprint: Fingerprint

    @property
    def verdict(self):
        """The verdict over the two layers that the law asks for: people's and machines'."""
        asked = [self.layers["visible"].verdict, self.layers["metadata"].verdict]
        if NONCOMPLIANT in asked or self.layers["c2pa"].verdict == NONCOMPLIANT:
            return NONCOMPLIANT
        if all(v == COMPLIANT for v in asked):
            return COMPLIANT
        if self.layers["metadata"].verdict == NOT_FOUND:
            # Something of ours without its metadata was stripped; nothing at all is unlabelled.
            some = any(layer.verdict == COMPLIANT for layer in self.layers.values())
            return NONCOMPLIANT if some else NOT_FOUND
        return INCONCLUSIVE

    def to_dict(self):
        return {
            "path": str(self.path),
            "verdict": self.verdict,
            "layers": {name: asdict(layer) for name, layer in self.layers.items()},
        }


def read(path, *, keys=None, known_marks=(), texts=(), search=True):
    """Read every layer of a video, a sound or a picture.

    Parameters
    ----------
    path : path-like
    keys : heygem.provenance.keys.Keys, optional
        Of the installation that may have made it: its mark is looked for, its signature checked.
    known_marks : sequence of int
        Marks in the ledger, which are recognised where they are too weak to be decoded.
    texts : sequence of str
        Wordings of the visible label to look for beside the default one.
    search : bool
        Also look for the mark in crops, which takes seconds.

    Returns
    -------
    LabelReading

    Raises
    ------
    InputError
        The file cannot be read at all.
    """
    path = Path(path)
    info = media.probe(path)
    layers = {"metadata": _metadata(path, keys), "c2pa": _c2pa(path, keys)}
    hasher = PictureHasher()
    if info.video is None:
        none = LayerReading(NOT_FOUND, ["there is no picture"])
        layers |= {"visible": none, "mark": none}
    else:
        looked, reader = [], WatermarkReader(keys.mark_secret) if keys is not None else None
        still = info.is_still
        with media.VideoReader(path) as frames:
            for frame in frames:
                hasher.add(frame.image, frame.time_s)
                if frame.time_s <= SHORTEST_S and len(looked) < SHORTEST_S * 60:
                    looked.append(_small(frame.image))
                if reader is not None and frame.time_s < WINDOW_S:
                    reader.add(frame.image, frame.time_s)
        layers["visible"] = _visible(looked, texts)
        layers["mark"] = _mark(reader, known_marks, search and not still, still)
    words = np.zeros(0, np.uint32)
    if info.audio is not None:
        track = media.read_audio(path)
        words = hash_sound(track.samples.mean(1), track.rate_hz)
    ordered = {name: layers[name] for name in LAYERS}
    return LabelReading(path, ordered, Fingerprint(hasher.words, words))


def _metadata(path, keys):
    try:
        texts = containers.read_tags(path)
    except HeygemError as e:
        return LayerReading(INCONCLUSIVE, [str(e)])
    if not texts:
        return LayerReading(NOT_FOUND)
    label, problems = parse(texts[0])
    if len(texts) > 1:
        problems.append(f"{len(texts)} labels, where there must be one")
    if label is None:
        return LayerReading(NONCOMPLIANT, problems)
    values = {
        "Label": label.Label,
        "ContentProducer": label.ContentProducer,
        "ProduceID": label.ProduceID,
        "signed_by_us": None,
    }
    if keys is not None and label.ReservedCode1:
        values["signed_by_us"] = keys.verify(label.signed_part, label.ReservedCode1)
        if values["signed_by_us"] is False:
            problems.append("signed with our key, but over other fields: forged or changed")
    return LayerReading(NONCOMPLIANT if problems else COMPLIANT, problems, values)


def _c2pa(path, keys):
    if not credentials.can_carry(path):
        return LayerReading(NOT_FOUND, [f"{path.suffix} cannot carry Content Credentials"])
    found = credentials.read(path, keys)
    if found is None:
        return LayerReading(NOT_FOUND)
    values = asdict(found)
    if found.state == "Invalid" or found.failures:
        return LayerReading(
            NONCOMPLIANT, ["changed after signing: " + ", ".join(found.failures)], values
        )
    if not found.says_ai:
        return LayerReading(
            INCONCLUSIVE, ["signed, but nothing said of a trained algorithm"], values
        )
    ours = (
        "by this installation" if found.state == "Trusted" else f"by {found.signer}, unknown here"
    )
    return LayerReading(COMPLIANT, [f"signed {ours}"], values)


def _mark(reader, known, search, still):
    if reader is None:
        return LayerReading(
            INCONCLUSIVE, ["only the installation that made a file can read its mark; no keys here"]
        )
    found = reader.read(known, search=search)
    values = {"pilot_sigma": round(found.pilot, 1), "data_sigma": round(found.data, 1)}
    if found.mark_id is not None:
        values["mark_id"] = f"{found.mark_id:016x}"
        how = found.how + (", recognised among known marks" if found.by_ledger else "")
        return LayerReading(COMPLIANT, [how], values)
    if still or found.how == "too short to read":
        return LayerReading(INCONCLUSIVE, ["too short to hold a mark that can be read"], values)
    return LayerReading(NOT_FOUND, [], values)


def _small(image):
    h, w = image.shape[:2]
    scale = min(1.0, _SHORT / min(h, w))
    size = (max(round(w * scale), 1), max(round(h * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image


def _visible(images, texts):
    """Look for the label's letters in (small) frames of the first two seconds."""
    if not images:
        return LayerReading(INCONCLUSIVE, ["no frame could be read"])
    picks = np.unique(np.linspace(0, len(images) - 1, _LOOKS).astype(int))
    grey = [cv2.cvtColor(images[i], cv2.COLOR_RGB2GRAY).astype(np.float32) for i in picks]
    # The core of the usual wordings is looked for at all sizes, the rest of them where it stands.
    score, text, height = 0.0, None, 0.0
    for core, fuller in ((_CORE, _USUAL), ("人工智能生成", ()), *((t, ()) for t in texts)):
        core_score, core_height = _find(grey[0], core)
        if core_score > score:
            score, text, height = core_score, core, core_height
            for longer in fuller:
                longer_score, _ = _find(grey[0], longer, heights=[height])
                text = longer if longer_score > _SEEN else text
    values = {"score": round(score, 2)}
    if text is None or score < _SEEN:
        return LayerReading(
            INCONCLUSIVE,
            ["none of the known wordings was recognised: look at the picture yourself"],
            values,
        )
    shares = [_find(g, text, heights=[height])[0] for g in grey]
    values |= {"text": text, "height": round(height, 3), "score": round(min(shares), 2)}
    if min(shares) < _SEEN * 0.8:
        return LayerReading(NONCOMPLIANT, ["not there for the whole of the first 2 s"], values)
    # A copy of some hundred pixels tells heights apart by a pixel at best.
    if height * min(grey[0].shape) + 1 < 0.05 * min(grey[0].shape):
        return LayerReading(NONCOMPLIANT, ["letters lower than 5 % of the shorter side"], values)
    return LayerReading(COMPLIANT, [f"“{text}” from the first frame"], values)


def _find(grey, text, heights=None):
    """(best correlation, letter height as a share of the shorter side) of a wording's edges."""
    short = min(grey.shape)
    best = (0.0, 0.0)
    for height in heights or np.arange(0.040, 0.105, 0.0025):
        ink = template(text, height * short)
        if ink is None or ink.shape[0] >= grey.shape[0] or ink.shape[1] >= grey.shape[1]:
            continue
        response = cv2.matchTemplate(grey, ink, cv2.TM_CCOEFF_NORMED)
        score = float(np.nan_to_num(response).max())
        if score > best[0]:
            best = (score, float(height))
    return best
