"""Tracing a file of unknown origin to the run that made it.

Four kinds of evidence, strongest first: the file's own hash; the signed content number in its
metadata; the invisible watermark; the fingerprint of video and audio together. The first three
are proof; the fingerprint is a similarity, and is reported as such.
"""

from dataclasses import asdict, dataclass
from typing import Any

from heygem.core.files import hash_input
from heygem.core.types import IntArray, PathLike
from heygem.provenance import keys
from heygem.provenance.fingerprint import (
    MAX_AUDIO_ERROR,
    MAX_VIDEO_ERROR,
    Fingerprint,
    bit_error_rate,
)
from heygem.provenance.ledger import Entry, Ledger
from heygem.provenance.verify import Verification, verify_file

#: Kinds of evidence, strongest first, and what each one states.
EVIDENCE = {
    "hash": "the file is byte for byte the one that was made",
    "metadata": "its metadata holds the content number, signed with this installation's key",
    "watermark": "its pixels hold the invisible watermark of this run",
    "fingerprint": "its picture and sound resemble the result of this run",
}


@dataclass(frozen=True)
class Origin:
    """The run a file comes from.

    Attributes
    ----------
    entry : heygem.provenance.ledger.Entry
    evidence : list of str
        Keys of `EVIDENCE`, strongest first.
    similarity : dict of str to float
        Share of equal bits of the fingerprints, `picture` and `sound`, if they were compared.
    """

    entry: Entry
    evidence: list[str]
    similarity: dict[str, float]

    @property
    def is_proven(self) -> bool:
        """Whether there is other evidence than similarity."""
        return any(kind != "fingerprint" for kind in self.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "evidence": self.evidence,
            "similarity": self.similarity,
            "proven": self.is_proven,
            "entry": asdict(self.entry),
        }


def trace_file(
    path: PathLike, *, search: bool = True
) -> tuple[Verification, Origin | None, Ledger | None]:
    """Verify a file with this installation's keys and look it up in its ledger.

    Parameters
    ----------
    path
    search
        Also search for the watermark in crops.

    Returns
    -------
    verification : Verification
    origin : Origin or None
    ledger : Ledger or None
        None if this installation has no keys, and so never made anything.
    """
    if not keys.folder().exists():
        return verify_file(path, search=search), None, None
    own_keys = keys.load()
    ledger = Ledger(keys=own_keys)
    verification = verify_file(path, keys=own_keys, known_ids=ledger.watermark_ids(), search=search)
    return verification, find_origin(verification, ledger), ledger


def find_origin(verification: Verification, ledger: Ledger) -> Origin | None:
    """The run a file comes from, or None without evidence."""
    candidates = []
    sha256 = hash_input(verification.path)
    for entry in ledger.entries(kind="made"):
        similarity = _similarity(verification.fingerprint, entry)
        evidence = _evidence(verification, entry, sha256, similarity)
        if evidence:
            candidates.append(Origin(entry, evidence, similarity))
    if not candidates:
        return None
    ranks = list(EVIDENCE)
    return min(
        candidates,
        key=lambda origin: (ranks.index(origin.evidence[0]), -sum(origin.similarity.values())),
    )


def _evidence(
    verification: Verification, entry: Entry, sha256: str, similarity: dict[str, float]
) -> list[str]:
    """Evidence that a file comes from the run of a ledger row, strongest first."""
    metadata = verification.layers["metadata"].values
    produce_id = metadata.get("ProduceID") if metadata.get("signed_by_us") else None
    watermark_id = verification.layers["watermark"].values.get("watermark_id")
    evidence = []
    if entry.subject == sha256:
        evidence.append("hash")
    if produce_id is not None and entry.body.get("produce_id") == produce_id:
        evidence.append("metadata")
    if watermark_id is not None and entry.watermark_id == watermark_id:
        evidence.append("watermark")
    if (
        similarity.get("picture", 0) >= 1 - MAX_VIDEO_ERROR
        and similarity.get("sound", 0) >= 1 - MAX_AUDIO_ERROR
    ):
        evidence.append("fingerprint")
    return evidence


def _similarity(fingerprint: Fingerprint, entry: Entry) -> dict[str, float]:
    data = entry.body.get("fingerprint")
    if data is None:
        return {}
    recorded = Fingerprint.from_dict(data)
    pairs: dict[str, tuple[IntArray, IntArray]] = {
        "picture": (fingerprint.video, recorded.video),
        "sound": (fingerprint.audio, recorded.audio),
    }
    return {
        name: round(1 - bit_error_rate(a, b), 3)
        for name, (a, b) in pairs.items()
        if min(len(a), len(b)) >= 4
    }


def input_summary(body: dict[str, Any]) -> dict[str, Any]:
    """Inputs of a result, as far as the body of its ledger row names them: files and hashes."""
    inputs = body.get("params", {}).get("inputs", {})
    summary = {
        "videos of the batch": ", ".join(inputs.get("videos") or ()),
        "sound": inputs.get("audio"),
        "text": inputs.get("text"),
    }
    summary |= {f"sha256 of the {name}": value for name, value in body.get("sources", {}).items()}
    return {name: value for name, value in summary.items() if value}
