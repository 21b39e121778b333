"""Where a file comes from: concluded from its labels, the ledger and the fingerprint together.

No label is taken for proof by itself: metadata can be copied, Content Credentials can be pasted,
and a watermark can be estimated from one file and added to another. What counts as proof is the
hash of the whole file in the ledger, or a label signed together with the hashes of this very coded
picture and sound. Everything else names a run, and picture and sound then decide whether the file
is a copy of what that run made. `docs/compliance.md` has the table of conclusions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from heygem.core.errors import HeygemError
from heygem.core.types import PathLike
from heygem.provenance import keys as key_store
from heygem.provenance.evidence import (
    AS_MADE,
    EVIDENCE,
    PROOFS,
    Origin,
    claims_in_words,
    find_origins,
    is_partly_alike,
    is_refuted,
    is_source_of,
    is_supported,
    likeness_in_words,
    recorded_runs,
)
from heygem.provenance.keys.public import PublicKeys
from heygem.provenance.ledger import Fault, Ledger
from heygem.provenance.verify import (
    COMPLIANT,
    INCONCLUSIVE,
    NO_SECRET,
    NONCOMPLIANT,
    NOT_FOUND,
    Verification,
    verify_file,
)

UNCHANGED = "made here, unchanged"
CHANGED_COPY = "made here, changed since"
PARTLY = "partly made here"
NOT_THIS_RUN = "label copied, not this run"
UNRECORDED = "signed here, but not recorded"
AS_SIGNED = "as its producer signed it"
OTHERS = "labelled by another"
UNLABELLED = "not labelled"

PROVEN, STRONG, PROBABLE = "proven", "strong", "probable"


@dataclass(frozen=True)
class Trace:
    """What is known about a file.

    Attributes
    ----------
    verification : Verification
        Its labels, layer by layer.
    conclusion : str
        `UNCHANGED`, `CHANGED_COPY`, `PARTLY`, `NOT_THIS_RUN`, `UNRECORDED`, `AS_SIGNED`, `OTHERS`,
        `UNLABELLED` or `INCONCLUSIVE`.
    certainty : str
        `PROVEN`, `STRONG` (label and content agree), `PROBABLE` (content alone), or empty.
    reasons : list of str
        What the conclusion rests on.
    origin : Origin or None
        The run it comes from.
    others : list of Origin
        Other runs that its labels or its content point to.
    conflicts : list of str
        Labels that name other runs than the content does.
    unchecked : list of str
        What could not be checked here, and why.
    ledger : Ledger or None
        None if there is no ledger here.
    faults : list of Fault
        Of the ledger.
    """

    verification: Verification
    conclusion: str
    certainty: str = ""
    reasons: list[str] = field(default_factory=list)
    origin: Origin | None = None
    others: list[Origin] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    ledger: Ledger | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One of the four verdicts of `heygem.provenance.verify`, over labels and conclusion."""
        labels = self.verification.verdict
        wrong = (PARTLY, NOT_THIS_RUN, UNRECORDED)
        if self.conclusion in wrong or self.conflicts or self.faults or labels == NONCOMPLIANT:
            return NONCOMPLIANT
        if self.conclusion == CHANGED_COPY and labels == NOT_FOUND:
            return NONCOMPLIANT  # its labels were removed
        is_bound = self.verification.layers["metadata"].values.get("bound")
        if self.conclusion == INCONCLUSIVE or (self.conclusion == OTHERS and is_bound is False):
            return INCONCLUSIVE
        return labels

    def to_dict(self, *, redacted: bool = False) -> dict[str, Any]:
        """Plain values for JSON; `redacted` leaves out names of users, files and folders."""
        labels = self.verification.to_dict()
        if redacted:
            labels["path"] = f"sha256 {self.verification.sha256}"
        return labels | {
            "verdict": self.verdict,
            "conclusion": self.conclusion,
            "certainty": self.certainty,
            "reasons": self.reasons,
            "conflicts": self.conflicts,
            "unchecked": self.unchecked,
            "origin": self.origin and self.origin.to_dict(redacted=redacted),
            "others": [each.to_dict(redacted=redacted) for each in self.others],
            "ledger_faults": [asdict(fault) for fault in self.faults],
        }


def trace_file(
    path: PathLike, *, search: bool = True, public_keys: PublicKeys | None = None
) -> Trace:
    """Verify a file with what there is here, and conclude where it comes from.

    Without the secret keys, the public halves in the ledger check signatures; without a ledger,
    only the file itself is judged.

    Parameters
    ----------
    path
    search
        Also search for the watermark in crops, and compare parts of the picture and other speeds.
    public_keys
        Of another installation, which may have made the file: checked in place of this one's.
    """
    if public_keys is not None:
        verification = verify_file(path, keys=public_keys, search=search)
        return conclude(verification, None, search=search)
    own_keys = key_store.load_for_reading()
    ledger, known_ids, faults = None, [], []
    if own_keys is not None:
        try:
            ledger = Ledger(keys=own_keys)
            known_ids = ledger.watermark_ids()
        except HeygemError as error:  # damaged: the file itself is still judged
            ledger, faults = None, [Fault(0, f"it cannot be read: {error}")]
    verification = verify_file(path, keys=own_keys, known_ids=known_ids, search=search)
    traced = conclude(verification, ledger, search=search)
    return replace(traced, faults=faults) if faults else traced


def conclude(verification: Verification, ledger: Ledger | None, *, search: bool = True) -> Trace:
    """Combine all evidence about a file.

    Parameters
    ----------
    verification
    ledger
        None where there is none: then only the file itself can be judged.
    search
        As for `trace_file`.
    """
    entries = list(recorded_runs(ledger)) if ledger is not None else []
    origins = list(find_origins(verification, entries, search))
    judged = _judge(verification, origins) if ledger is not None else _judge_alone(verification)
    return Trace(
        verification,
        judged.conclusion,
        judged.certainty,
        [*judged.reasons, *_label_reasons(verification, judged.origin)],
        judged.origin,
        [each for each in origins if each is not judged.origin],
        judged.conflicts,
        list(_unchecked(verification, ledger)),
        ledger,
        ledger.verify() if ledger is not None else [],
    )


@dataclass(frozen=True)
class _Judgement:
    conclusion: str
    certainty: str
    reasons: list[str]
    origin: Origin | None = None
    conflicts: list[str] = field(default_factory=list)


def _judge(verification: Verification, origins: Sequence[Origin]) -> _Judgement:
    """The conclusion from all runs that anything points to."""
    supported = [each for each in origins if each.is_proven or is_supported(each)]
    claimed = [each for each in origins if each.claims]
    if supported:
        # A proof first, then what most labels name.
        main = max(supported, key=lambda each: (each.is_proven, len(each.claims)))
        conflicts = [
            f"{claims_in_words(each)} the run of row {each.entry.number}, not that of row "
            f"{main.entry.number}: {likeness_in_words(each)}"
            for each in claimed
            if each is not main and not is_source_of(each.entry, main.entry)
        ]
        return _judge_supported(main, claimed, conflicts)
    if claimed:
        return _judge_unsupported(verification, claimed)
    return _judge_unknown(verification, origins)


def _judge_supported(main: Origin, claimed: Sequence[Origin], conflicts: list[str]) -> _Judgement:
    number = main.entry.number
    reasons = [EVIDENCE[kind] for kind in main.evidence if kind in PROOFS]
    if main.entry.kind == "begun":
        reasons.append(f"the run was begun in row {number}; no row records its end")
    if main.is_proven:
        return _Judgement(UNCHANGED, PROVEN, reasons, main, conflicts)
    reasons.append(
        f"{claims_in_words(main)} the run of row {number}" if main.claims else "no label names it"
    )
    reasons.append(likeness_in_words(main))
    if not main.claims and claimed:
        # The content is that of one run, and every label that of others.
        return _Judgement(NOT_THIS_RUN, STRONG, reasons, main, conflicts)
    certainty = STRONG if main.claims else PROBABLE
    if main.similarity is not None and main.similarity.is_extended:
        length, recorded = main.similarity.seconds, main.similarity.recorded_seconds
        reasons.append(f"it lasts {length:.0f} s, of which that result is {recorded:.0f} s at most")
        return _Judgement(PARTLY, certainty, reasons, main, conflicts)
    return _Judgement(CHANGED_COPY, certainty, reasons, main, conflicts)


def _judge_unsupported(verification: Verification, claimed: Sequence[Origin]) -> _Judgement:
    """Labels name runs, and the content is that of none of them."""
    watermark = verification.layers["watermark"].values
    is_moved = bool(watermark.get("watermark_id")) and watermark.get("transform") not in AS_MADE
    reasons = [
        f"{claims_in_words(each)} the run of row {each.entry.number}; {likeness_in_words(each)}"
        for each in claimed
    ]
    if verification.layers["metadata"].values.get("signed_by_us") is False:
        reasons.append("its metadata is forged")
    conflicts = []
    if len(claimed) > 1:
        rows = ", ".join(str(each.entry.number) for each in claimed)
        conflicts.append(f"its labels name different runs: rows {rows}")
    partly = [each for each in claimed if is_partly_alike(each)]
    if partly:
        return _Judgement(PARTLY, STRONG, reasons, partly[0], conflicts)
    if all(is_refuted(each, is_moved) for each in claimed):
        return _Judgement(NOT_THIS_RUN, STRONG, reasons, None, conflicts)
    reasons.append("a label alone is no proof, and the content cannot be compared")
    return _Judgement(INCONCLUSIVE, "", reasons, None, conflicts)


def _judge_alone(verification: Verification) -> _Judgement:
    """The conclusion without a ledger: from the file, and perhaps its producer's public keys."""
    metadata = verification.layers["metadata"].values
    if metadata.get("signed_by_us") and metadata.get("key_stolen"):
        return _Judgement(INCONCLUSIVE, "", ["whoever stole the key may have signed it"])
    if metadata.get("signed_by_us") and metadata.get("bound"):
        signed = f"its label is signed with the key {metadata['key']} for this picture and sound"
        return _Judgement(AS_SIGNED, PROVEN, [signed])
    if metadata.get("signed_by_us"):
        reason = "only its producer can compare the content with what was made"
        return _Judgement(INCONCLUSIVE, "", [reason])
    return _judge_unknown(verification, [])


def _judge_unknown(verification: Verification, origins: Sequence[Origin]) -> _Judgement:
    """No label names a recorded run, and no recorded run has this picture and this sound."""
    layers = verification.layers
    metadata, watermark = layers["metadata"].values, layers["watermark"].values
    reasons = [
        f"it is the {name} that the run of row {each.entry.number} used"
        for each in origins
        for name, sha256 in each.entry.body.get("sources", {}).items()
        if "source" in each.evidence and sha256 == verification.sha256
    ]
    reasons += [
        f"resembles the run of row {each.entry.number}, or its source: {likeness_in_words(each)}"
        for each in origins
        if "source" not in each.evidence
    ]
    if metadata.get("signed_by_us") is False:
        return _Judgement(NOT_THIS_RUN, STRONG, ["its metadata is forged", *reasons])
    if metadata.get("key_stolen"):
        return _Judgement(NOT_THIS_RUN, STRONG, ["it is signed with a stolen key", *reasons])
    if metadata.get("signed_by_us"):
        missing = (
            f"its metadata is signed here, and no row has content number {metadata['ProduceID']}"
        )
        return _Judgement(UNRECORDED, STRONG, [missing, *reasons])
    if watermark.get("watermark_id"):
        missing = (
            f"its watermark is of this installation, and no row has id {watermark['watermark_id']}"
        )
        return _Judgement(UNRECORDED, STRONG, [missing, *reasons])
    if any(layer.verdict in (COMPLIANT, NONCOMPLIANT) for layer in layers.values()):
        return _Judgement(OTHERS, "", reasons)
    return _Judgement(UNLABELLED, "", reasons)


def _label_reasons(verification: Verification, origin: Origin | None) -> Iterator[str]:
    """Labels that the run wrote, and that the file no longer has."""
    if origin is None or origin.is_proven:
        return
    written = origin.entry.body.get("layers", {})
    words = {
        "visible": "its visible label was not recognised: cut away, covered or made too small",
        "metadata": "its metadata label was removed",
        "c2pa": "its Content Credentials were removed",
        "watermark": "its invisible watermark cannot be read",
    }
    for name, text in words.items():
        is_written = str(written.get(name, "")).startswith("written")
        if is_written and verification.layers[name].verdict in (NOT_FOUND, INCONCLUSIVE):
            yield text


def _unchecked(verification: Verification, ledger: Ledger | None) -> Iterator[str]:
    """What could not be checked with what this installation has."""
    layers = verification.layers
    metadata = layers["metadata"].values
    if metadata.get("signed_by_us") is None and metadata.get("key"):
        yield f"the signature: the public key {metadata['key']} is not known here"
    if NO_SECRET in layers["watermark"].findings:
        yield "the watermark: it takes the secret keys of the installation that made the file"
    if ledger is None:
        yield "the ledger: there is none here"
    elif not ledger.entries(kind="made"):
        yield "the ledger: it holds no result yet, or its rows are gone"
