"""From a file of unknown history to the run that made it, and the letter that says so.

Four clues, the surest first: the file's own hash; the signed number in its metadata; the invisible
mark; the fingerprint of picture and sound together. The first three prove, the last one suggests:
it tells how alike the two are, and says so.
"""

from dataclasses import asdict, dataclass

from heygem.provenance import fingerprint, keys, verify
from heygem.provenance.ledger import Entry, Ledger, file_hash

HOW = {
    "hash": "the file is byte for byte the one that was made",
    "metadata": "its metadata holds the content number, signed with this installation's key",
    "mark": "its pixels hold the invisible mark of this run",
    "fingerprint": "it looks and sounds like the result of this run",
}


@dataclass(frozen=True)
class Origin:
    """The run a file comes from.

    Attributes
    ----------
    entry : heygem.provenance.ledger.Entry
    clues : list of str
        Keys of `HOW`, the surest first.
    alike : dict of str to float
        Share of equal bits of the fingerprints, `picture` and `sound`, where they were compared.
    """

    entry: Entry
    clues: list
    alike: dict

    @property
    def proven(self):
        """Whether more than likeness speaks for it."""
        return any(clue != "fingerprint" for clue in self.clues)

    def to_dict(self):
        return {"clues": self.clues, "alike": self.alike, "proven": self.proven} | {
            "entry": asdict(self.entry)
        }


def examine(path, *, search=True):
    """Read a file with this installation's keys and look it up in its ledger.

    Parameters
    ----------
    path : path-like
    search : bool
        Also look for the mark in crops.

    Returns
    -------
    (LabelReading, Origin or None, Ledger or None)
        No origin and no ledger where this installation has never made or recorded anything.
    """
    if not keys.folder().exists():
        return verify.read(path, search=search), None, None
    mine = keys.load()
    book = Ledger(keys=mine)
    found = verify.read(path, keys=mine, known_marks=book.mark_ids(), search=search)
    return found, find(found, book), book


def find(read, ledger):
    """The run a file comes from, or None where no clue leads to one.

    Parameters
    ----------
    read : heygem.provenance.verify.LabelReading
    ledger : heygem.provenance.ledger.Ledger

    Returns
    -------
    Origin or None
    """
    made = ledger.entries(kind="made")
    clues = {}
    sha256 = file_hash(read.path)
    metadata = read.layers["metadata"].values
    number = metadata.get("ProduceID") if metadata.get("signed_by_us") else None
    mark = read.layers["mark"].values.get("mark_id")
    for entry in made:
        found = []
        if entry.subject == sha256:
            found.append("hash")
        if number is not None and entry.body.get("produce_id") == number:
            found.append("metadata")
        if mark is not None and entry.mark_id == mark:
            found.append("mark")
        if found:
            clues[entry.number] = found
    alike = {entry.number: _alike(read.fingerprint, entry) for entry in made}
    for entry in made:
        same = alike[entry.number]
        if (
            same.get("picture", 0) >= 1 - fingerprint.SAME_PICTURE
            and same.get("sound", 0) >= 1 - fingerprint.SAME_SOUND
        ):
            clues.setdefault(entry.number, []).append("fingerprint")
    if not clues:
        return None
    order = list(HOW)
    best = min(
        clues,
        key=lambda n: (order.index(clues[n][0]), -sum(alike[n].values())),
    )
    entry = next(e for e in made if e.number == best)
    return Origin(entry, clues[best], alike[best])


def _alike(prints, entry):
    data = entry.body.get("fingerprint")
    if data is None:
        return {}
    theirs = fingerprint.Fingerprint.from_dict(data)
    pairs = {"picture": (prints.picture, theirs.picture), "sound": (prints.sound, theirs.sound)}
    return {
        name: round(1 - fingerprint.differing(a, b), 3)
        for name, (a, b) in pairs.items()
        if min(len(a), len(b)) >= 4
    }


def summary(read, origin, run=None):
    """What was found, in a few lines of Markdown, for a notebook."""
    lines = [f"### {read.path.name}: {read.verdict}", "", *_layer_lines(read), ""]
    if origin is None:
        return "\n".join([*lines, "Not made by this installation, as far as it can tell."])
    body = origin.entry.body
    sure = "Made" if origin.proven else "Probably made"
    lines += [
        f"{sure} here on {origin.entry.time_utc[:19]} UTC by {cell(body.get('user', ''))} "
        f"as {cell(body.get('title', ''))} (ledger row {origin.entry.number}); "
        f"found by {', '.join(origin.clues)}.",
        "",
        *[f"- {name}: {cell(value)}" for name, value in inputs(body).items()],
    ]
    if run is not None:
        lines.append(f"- MLflow run: {run['run_id']} in {cell(run['folder'])}")
    return "\n".join(lines)


def _layer_lines(read):
    lines = ["| Layer | Verdict | Findings |", "|---|---|---|"]
    for name, layer in read.layers.items():
        lines.append(f"| {name} | {layer.verdict} | {cell('; '.join(layer.findings))} |")
    return lines


def inputs(body):
    """What a result was made from, as far as the row tells: file names and hashes."""
    given = body.get("params", {}).get("inputs", {})
    told = {
        "videos of the batch": ", ".join(given.get("videos") or ()),
        "sound": given.get("audio"),
        "text": given.get("text"),
    }
    told |= {f"sha256 of the {name}": value for name, value in body.get("sources", {}).items()}
    return {name: value for name, value in told.items() if value}


def cell(value):
    """A value that cannot break out of a table's cell."""
    if isinstance(value, dict):
        value = ", ".join(f"{k}: {v}" for k, v in value.items())
    text = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")
    return " ".join(text.split()).replace("<", "&lt;")
