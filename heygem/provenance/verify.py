"""Verification of a file's labels, layer by layer.

A layer's verdict says whether the label is well made, not whether it belongs to this file: labels
can be copied. Which run a file comes from is concluded from all layers, the ledger and the
fingerprint together, see `heygem.provenance.trace`.

Each layer gets one of four verdicts. `compliant`: present and correct. `noncompliant`: present and
wrong. `not found`: searched for and absent. `inconclusive`: cannot be decided, with the reason; a
visible label in unknown words is one, since a program cannot judge what people see.
"""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from heygem import media
from heygem.config.params import BILINGUAL_LABEL, DEFAULT_LABEL
from heygem.core.errors import HeygemError
from heygem.core.files import hash_input
from heygem.core.types import FloatArray, Image, PathLike
from heygem.provenance import binding, containers, credentials
from heygem.provenance.aigc import AigcLabel, parse_label
from heygem.provenance.fingerprint import FrameHasher
from heygem.provenance.keys import Keys
from heygem.provenance.keys.public import PublicKeys
from heygem.provenance.label_text import render_template
from heygem.provenance.similarity import ExaminedContent
from heygem.provenance.visible import MIN_DURATION_S
from heygem.provenance.watermark.detect import TOO_SHORT, WINDOW_S, WatermarkDetector

COMPLIANT = "compliant"
NONCOMPLIANT = "noncompliant"
NOT_FOUND = "not found"
INCONCLUSIVE = "inconclusive"
NO_SECRET = "only the installation that made a file can detect its watermark; no keys here"
LAYERS = ("visible", "metadata", "c2pa", "watermark")
_MIN_CORRELATION = 0.55  # of the label's letters; frames without a label stay under 0.35
_CHECKED_FRAMES = 6  # frames that are searched for the visible label
_SHORT_SIDE_PX = 480  # frames are reduced to this for the search
_CORE_TEXT = DEFAULT_LABEL
#: Longer texts that begin with it, by the part that tells them apart: whole texts also resemble
#: the core alone.
_LONGER_TEXTS = {"AI-generated": BILINGUAL_LABEL}


@dataclass(frozen=True)
class LayerResult:
    """One layer: its verdict, the findings in words, and measured values."""

    verdict: str
    findings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """All layers of one file, and its picture and sound for comparisons.

    Attributes
    ----------
    path : Path
    layers : dict of str to LayerResult
        `visible`, `metadata`, `c2pa`, `watermark`.
    content : heygem.provenance.similarity.ExaminedContent
    """

    path: Path
    layers: dict[str, LayerResult]
    content: ExaminedContent

    @functools.cached_property
    def sha256(self) -> str:
        """sha256 [hex] of the file, read once."""
        return hash_input(self.path)

    @property
    def verdict(self) -> str:
        """The verdict over the two layers that the law requires: visible and metadata."""
        required = [self.layers["visible"].verdict, self.layers["metadata"].verdict]
        if NONCOMPLIANT in required or self.layers["c2pa"].verdict == NONCOMPLIANT:
            return NONCOMPLIANT
        if all(v == COMPLIANT for v in required):
            return COMPLIANT
        if self.layers["metadata"].verdict == NOT_FOUND:
            # Metadata removed from a labelled file is a violation; no label at all is not.
            is_labelled = any(layer.verdict == COMPLIANT for layer in self.layers.values())
            return NONCOMPLIANT if is_labelled else NOT_FOUND
        return INCONCLUSIVE

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the content."""
        return {
            "path": str(self.path),
            "verdict": self.verdict,
            "layers": {name: asdict(layer) for name, layer in self.layers.items()},
        }


def verify_file(
    path: PathLike,
    *,
    keys: Keys | PublicKeys | None = None,
    known_ids: Sequence[int] = (),
    texts: Sequence[str] = (),
    search: bool = True,
) -> Verification:
    """Verify every label layer of a video, an audio file or a picture.

    Parameters
    ----------
    path
    keys
        Of the installation that may have made the file; public keys check its signatures, but
        cannot detect its watermark.
    known_ids
        Watermark ids in the ledger, recognised even if they are too weak to be decoded.
    texts
        Visible labels to look for beside the default one.
    search
        Also search for the watermark in crops, which takes seconds.

    Raises
    ------
    InputError
        The file cannot be read at all.
    """
    path = Path(path)
    info = media.probe(path)
    layers = verify_seals(path, keys=keys)
    hasher = FrameHasher()
    if info.video is None:
        no_picture = LayerResult(NOT_FOUND, ["there is no picture"])
        layers |= {"visible": no_picture, "watermark": no_picture}
    else:
        first_frames: list[Image] = []
        secrets = keys.watermark_secrets.values() if isinstance(keys, Keys) else ()
        detectors = [WatermarkDetector(secret) for secret in secrets]
        with media.VideoReader(path) as frames:
            for frame in frames:
                hasher.add(frame.image, frame.time_s)
                if frame.time_s <= MIN_DURATION_S and len(first_frames) < MIN_DURATION_S * 60:
                    first_frames.append(_shrink(frame.image))
                if frame.time_s < WINDOW_S:
                    for detector in detectors:
                        detector.add(frame.image, frame.time_s)
        layers["visible"] = _verify_visible(first_frames, texts)
        layers["watermark"] = _verify_watermark(detectors, known_ids, search, info.is_still)
    samples, rate_hz = np.zeros(0, np.float32), 1
    if info.audio is not None:
        track = media.read_audio(path)
        samples, rate_hz = track.samples.mean(1), track.rate_hz
    ordered = {name: layers[name] for name in LAYERS}
    return Verification(path, ordered, ExaminedContent.of(hasher, samples, rate_hz))


def verify_seals(path: PathLike, *, keys: Keys | PublicKeys | None) -> dict[str, LayerResult]:
    """Verify `metadata` and `c2pa` alone: what is signed over picture and sound, without decoding.

    Raises
    ------
    InputError
        The file cannot be read at all.
    """
    path = Path(path)
    media.probe(path)
    return {"metadata": _verify_metadata(path, keys), "c2pa": _verify_c2pa(path, keys)}


def _verify_metadata(path: Path, keys: Keys | PublicKeys | None) -> LayerResult:
    try:
        texts = containers.read_tags(path)
    except HeygemError as error:
        return LayerResult(INCONCLUSIVE, [str(error)])
    if not texts:
        return LayerResult(NOT_FOUND)
    label, problems = parse_label(texts[0])
    if len(texts) > 1:
        problems.append(f"{len(texts)} labels, where there must be one")
    if label is None:
        return LayerResult(NONCOMPLIANT, problems)
    values: dict[str, Any] = {
        "Label": label.Label,
        "ContentProducer": label.ContentProducer,
        "ProduceID": label.ProduceID,
        "signed_by_us": None,
        "bound": None,
    }
    findings: list[str] = []
    is_forged = False
    if label.ReservedCode1:
        findings, is_forged = _verify_signature(label, path, keys, values)
    verdict = NONCOMPLIANT if problems or is_forged else COMPLIANT
    return LayerResult(verdict, problems + findings, values)


def _verify_signature(
    label: AigcLabel, path: Path, keys: Keys | PublicKeys | None, values: dict[str, Any]
) -> tuple[list[str], bool]:
    """Check `ReservedCode1`: the findings, and whether it is forged.

    Sets `signed_by_us` (None without keys, and for another's key) and `bound`: whether the hashes
    in it are those of this file's coded picture and sound, which can be compared without keys.
    """
    bound = binding.parse_binding(label.ReservedCode1)
    if bound is None:
        if keys is not None:
            values["signed_by_us"] = keys.verify(label.signed_bytes, label.ReservedCode1)
        if values["signed_by_us"]:
            return ["signed by this installation, without binding to the content"], False
    else:
        content = binding.hash_content(path)
        values |= {
            "key": bound.key_name,
            "picture_bound": content.picture == bound.content.picture,
            "sound_bound": content.sound == bound.content.sound,
        }
        values["bound"] = values["picture_bound"] and values["sound_bound"]
        if not bound.is_signed:
            return ["reserved, but not signed yet: the run was killed before its end"], False
        if keys is not None:
            values["signed_by_us"] = binding.verify_binding(label, keys)
    if values["signed_by_us"] is False:
        return ["names our key, but is not signed with it over these fields: forged"], True
    if bound is None:
        return [], False
    who = "by this installation" if values["signed_by_us"] else f"with the key {bound.key_name}"
    if values["signed_by_us"] and keys is not None:
        public = keys.public if isinstance(keys, Keys) else keys
        key = public.find(f"ed25519:{bound.key_name}:")
        values["key_stolen"] = key is not None and key.is_stolen
        who += ", by a key that was stolen" * values["key_stolen"]
    if values["bound"]:
        return [f"signed {who}, for this very picture and sound"], False
    other = " and ".join(name for name in ("picture", "sound") if not values[f"{name}_bound"])
    return [
        f"signed {who}, but for another coded {other}: "
        "encoded again since, or copied from another file"
    ], False


def _verify_c2pa(path: Path, keys: Keys | PublicKeys | None) -> LayerResult:
    if not credentials.is_supported(path):
        return LayerResult(NOT_FOUND, [f"{path.suffix} cannot carry Content Credentials"])
    content = credentials.read(path, keys)
    if content is None:
        return LayerResult(NOT_FOUND)
    values = asdict(content)
    if content.state == "Invalid" or content.failures:
        failures = ", ".join(content.failures)
        return LayerResult(NONCOMPLIANT, [f"changed after signing: {failures}"], values)
    if not content.declares_ai:
        return LayerResult(INCONCLUSIVE, ["signed, but names no trained algorithm"], values)
    is_own = content.state == "Trusted"
    signer = "by this installation" if is_own else f"by {content.signer}, unknown here"
    return LayerResult(COMPLIANT, [f"signed {signer}"], values)


def _verify_watermark(
    detectors: Sequence[WatermarkDetector], known_ids: Sequence[int], search: bool, is_still: bool
) -> LayerResult:
    """Detect the watermark with every secret of the installation, the one in use first."""
    if not detectors:
        return LayerResult(INCONCLUSIVE, [NO_SECRET])
    detections = []
    for detector in detectors:
        detections.append(detector.detect(known_ids, search=search and not is_still))
        if detections[-1].watermark_id is not None:
            break
    detection = max(detections, key=lambda each: (each.watermark_id is not None, each.pilot_sigma))
    values: dict[str, Any] = {
        "pilot_sigma": round(detection.pilot_sigma, 1),
        "data_sigma": round(detection.data_sigma, 1),
    }
    if detection.watermark_id is not None:
        values["watermark_id"] = f"{detection.watermark_id:016x}"
        values["transform"] = detection.transform
        values["content_bound"] = detection.is_content_bound
        finding = detection.transform
        if detection.recognised:
            finding += ", recognised among known ids"
        if not detection.is_content_bound:
            finding += ", of the earlier scheme, which can be copied from another result"
        return LayerResult(COMPLIANT, [finding], values)
    if is_still or detection.transform == TOO_SHORT:
        return LayerResult(INCONCLUSIVE, ["too short to hold a detectable watermark"], values)
    return LayerResult(NOT_FOUND, [], values)


def _shrink(image: Image) -> Image:
    h, w = image.shape[:2]
    scale = min(1.0, _SHORT_SIDE_PX / min(h, w))
    size = (max(round(w * scale), 1), max(round(h * scale), 1))
    if scale == 1:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _verify_visible(images: list[Image], texts: Sequence[str]) -> LayerResult:
    """Search the (reduced) frames of the first two seconds for the label's letters."""
    if not images:
        return LayerResult(INCONCLUSIVE, ["no frame could be read"])
    indices = np.unique(np.linspace(0, len(images) - 1, _CHECKED_FRAMES).astype(int))
    grey = [cv2.cvtColor(images[i], cv2.COLOR_RGB2GRAY).astype(np.float32) for i in indices]
    # The core of the usual texts is searched for at all sizes, what follows it only at the best.
    score, text, height = 0.0, None, 0.0
    for core in (_CORE_TEXT, "人工智能生成", *texts):
        core_score, core_height = _match_text(grey[0], core)
        if core_score > score:
            score, text, height = core_score, core, core_height
    for rest, longer_text in _LONGER_TEXTS.items() if text == _CORE_TEXT else ():
        if _match_text(grey[0], rest, heights=[height])[0] > _MIN_CORRELATION:
            text = longer_text
    values: dict[str, Any] = {"score": round(score, 2)}
    if text is None or score < _MIN_CORRELATION:
        return LayerResult(
            INCONCLUSIVE,
            ["none of the known wordings was recognised: look at the picture yourself"],
            values,
        )
    scores = [_match_text(g, text, heights=[height])[0] for g in grey]
    values |= {"text": text, "height": round(height, 3), "score": round(min(scores), 2)}
    if min(scores) < _MIN_CORRELATION * 0.8:
        return LayerResult(NONCOMPLIANT, ["not there for the whole of the first 2 s"], values)
    # In a copy of a few hundred pixels, heights are accurate to one pixel at best.
    if height * min(grey[0].shape) + 1 < 0.05 * min(grey[0].shape):
        return LayerResult(NONCOMPLIANT, ["letters lower than 5 % of the shorter side"], values)
    return LayerResult(COMPLIANT, [f"“{text}” from the first frame"], values)


def _match_text(
    grey: FloatArray, text: str, heights: Sequence[float] | FloatArray | None = None
) -> tuple[float, float]:
    """(best correlation, letter height as a share of the shorter side) of a text in a frame."""
    short_px = min(grey.shape)
    best = (0.0, 0.0)
    for height in np.arange(0.040, 0.105, 0.0025) if heights is None else heights:
        letters = render_template(text, height * short_px)
        if (
            letters is None
            or letters.shape[0] >= grey.shape[0]
            or letters.shape[1] >= grey.shape[1]
        ):
            continue
        response = cv2.matchTemplate(grey, letters, cv2.TM_CCOEFF_NORMED)
        score = float(np.nan_to_num(response).max())
        if score > best[0]:
            best = (score, float(height))
    return best
