"""What points from a file to the runs of the ledger: its hash, its labels and its content."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heygem.provenance.fingerprint import Fingerprint
from heygem.provenance.ledger import Entry, Ledger
from heygem.provenance.similarity import (
    ABSENT,
    DIFFERENT,
    MIN_UNLIKE_PART,
    MIN_UNLIKE_PICTURE,
    SAME,
    UNKNOWN,
    Similarity,
    compare,
)
from heygem.provenance.verify import Verification

#: Kinds of evidence, strongest first, and what each one states.
EVIDENCE = {
    "hash": "the file is byte for byte the one that was made",
    "binding": "its label was signed here for this very coded picture and sound",
    "metadata": "its metadata holds the content number, signed with this installation's key",
    "number": "its metadata holds the content number, without a signature of this installation",
    "credentials": "its Content Credentials hold the content number",
    "watermark": "its pixels hold the invisible watermark of this run",
    "fingerprint": "its picture and sound are those of this run",
    "source": "it is the recording or the sound that this run used",
}
PROOFS = ("hash", "binding")
CLAIMS = ("metadata", "number", "credentials", "watermark")
_MIN_MISFIT = 0.1  # share of a picture or a sound that is worth a word
AS_MADE = ("as made", "mirrored")  # transforms of the watermark that keep the geometry


@dataclass(frozen=True)
class Origin:
    """A run that something in a file points to.

    Attributes
    ----------
    entry : heygem.provenance.ledger.Entry
    evidence : list of str
        Keys of `EVIDENCE`, strongest first.
    similarity : Similarity or None
        Of picture and sound; None if the row has no fingerprint.
    """

    entry: Entry
    evidence: list[str]
    similarity: Similarity | None = None

    @property
    def is_proven(self) -> bool:
        """Whether the file is what this run made, whatever it looks like."""
        return any(kind in PROOFS for kind in self.evidence)

    @property
    def claims(self) -> list[str]:
        """Labels that name this run."""
        return [kind for kind in self.evidence if kind in CLAIMS]

    def to_dict(self, *, redacted: bool = False) -> dict[str, Any]:
        """Plain values for JSON; see `redact`."""
        return {
            "evidence": self.evidence,
            "similarity": self.similarity and self.similarity.to_dict(),
            "proven": self.is_proven,
            "entry": redact(self.entry) if redacted else asdict(self.entry),
        }


def recorded_runs(ledger: Ledger) -> Iterator[Entry]:
    """Rows of finished results, and of runs that were begun and have no result."""
    results = ledger.entries(kind="made")
    finished = {entry.body.get("produce_id") for entry in results}
    yield from results
    for entry in ledger.entries(kind="begun"):
        if entry.body.get("produce_id") not in finished:
            yield entry


def find_origins(
    verification: Verification, entries: Sequence[Entry], search: bool
) -> Iterator[Origin]:
    """Every run that the file's hash, labels or content point to; the best evidence first."""
    sha256 = verification.sha256
    transform = verification.layers["watermark"].values.get("transform")
    candidates = []
    for entry in entries:
        evidence = list(_labels_naming(verification, entry, sha256))
        similarity = _similarity(verification, entry, search=False)
        is_alike = similarity is not None and SAME in (similarity.picture, similarity.sound)
        if not evidence and not is_alike:
            continue
        is_as_made = "watermark" in evidence and transform in AS_MADE
        similarity = _similarity(verification, entry, search=search, is_as_made=is_as_made)
        if similarity is not None and similarity.is_same:
            evidence.append("fingerprint")
        if sha256 in entry.body.get("sources", {}).values():
            evidence.append("source")
        candidates.append(Origin(entry, evidence, similarity))
    ranks = list(EVIDENCE)
    yield from sorted(
        candidates,
        key=lambda each: ranks.index(each.evidence[0]) if each.evidence else len(ranks),
    )


def _labels_naming(verification: Verification, entry: Entry, sha256: str) -> Iterator[str]:
    """Kinds of evidence, other than the content's, that name the run of a row."""
    layers = verification.layers
    metadata, c2pa = layers["metadata"].values, layers["c2pa"].values
    produce_id = entry.body.get("produce_id")
    if entry.kind == "made" and entry.subject == sha256:
        yield "hash"
    if produce_id and metadata.get("ProduceID") == produce_id:
        is_ours = metadata.get("signed_by_us")
        if is_ours and metadata.get("bound") and not metadata.get("key_stolen"):
            yield "binding"
        yield "metadata" if is_ours else "number"
    if produce_id and c2pa.get("title") == produce_id:
        yield "credentials"
    watermark_id = layers["watermark"].values.get("watermark_id")
    if watermark_id and entry.watermark_id == watermark_id:
        yield "watermark"


def _similarity(
    verification: Verification, entry: Entry, *, search: bool, is_as_made: bool = False
) -> Similarity | None:
    recorded = entry.body.get("fingerprint")
    if recorded is None:
        return None
    return compare(
        verification.content,
        Fingerprint.from_dict(recorded),
        search=search,
        is_as_made=is_as_made,
    )


def is_supported(origin: Origin) -> bool:
    """Whether picture and sound are those of the run, as far as both can be compared."""
    alike = origin.similarity
    if alike is None:
        return False
    if alike.is_same:
        return True
    if not origin.claims:
        return False
    is_muted = alike.sound == ABSENT and alike.picture == SAME and alike.is_same_as_made
    return is_muted or (alike.picture == ABSENT and alike.sound == SAME)


def is_partly_alike(origin: Origin) -> bool:
    alike = origin.similarity
    return alike is not None and {alike.picture, alike.sound} == {SAME, DIFFERENT}


def is_refuted(origin: Origin, is_moved: bool) -> bool:
    """Whether the content certainly is not that of the run a label names.

    A picture of unknown geometry that is not alike refutes a label only if the sound is another
    one or no part of it fits either, and if the watermark was not found displaced.
    """
    alike = origin.similarity
    if alike is None or SAME in (alike.picture, alike.sound):
        return False
    if alike.picture == DIFFERENT:
        return True
    is_unlike = alike.picture_error is None or alike.picture_error >= MIN_UNLIKE_PICTURE
    is_no_part = alike.layout_error is not None and alike.layout_error >= MIN_UNLIKE_PART
    return is_unlike and not is_moved and (alike.sound == DIFFERENT or is_no_part)


def is_source_of(entry: Entry, result: Entry) -> bool:
    """Whether a run's result was the input of another run, whose result then holds its marks."""
    label = result.body.get("input_label") or {}
    is_named = bool(label.get("content")) and label["content"] == entry.body.get("produce_id")
    return is_named or entry.subject in result.body.get("sources", {}).values()


def claims_in_words(origin: Origin) -> str:
    words = {
        "metadata": "its signed metadata",
        "number": "its unsigned metadata",
        "credentials": "its Content Credentials",
        "watermark": "its watermark",
    }
    claims = [words[kind] for kind in origin.claims]
    return f"{' and '.join(claims)} {'names' if len(claims) == 1 else 'name'}"


def likeness_in_words(origin: Origin) -> str:
    """How picture and sound compare with a run, in words with the measured shares."""
    alike, number = origin.similarity, origin.entry.number
    if alike is None:
        return f"row {number} has no fingerprint to compare with"
    words = {
        SAME: "is that of row {n}",
        DIFFERENT: "is not that of row {n}",
        UNKNOWN: "cannot be distinguished from that of row {n}",
        ABSENT: "cannot be compared (there is none)",
    }
    errors = {
        "picture": alike.layout_error if alike.layout_error is not None else alike.picture_error,
        "sound": alike.sound_error,
    }
    parts = []
    for name, state in (("picture", alike.picture), ("sound", alike.sound)):
        error = errors[name]
        share = f" ({error:.0%} differs)" if error is not None else ""
        parts.append(f"the {name} {words[state].format(n=number)}{share}")
        misfit = getattr(alike, f"{name}_misfit")
        if state == SAME and misfit >= _MIN_MISFIT:
            parts.append(f"but {misfit:.0%} of it does not fit: replaced, or silent")
    return ", ".join(parts)


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


def redact(entry: Entry) -> dict[str, Any]:
    """A row without names of users, files and folders, for a report that leaves the house."""
    facts: Iterable[str] = ("produce_id", "layers", "sources", "label_text")
    return {
        "number": entry.number,
        "time_utc": entry.time_utc,
        "kind": entry.kind,
        "subject": entry.subject,
        "watermark_id": entry.watermark_id,
        "hash": entry.hash,
        "body": {name: entry.body[name] for name in facts if name in entry.body},
    }
