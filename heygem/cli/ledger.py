"""`heygem ledger`: check, list, export and anchor the record of everything made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heygem.core.errors import AssetError

if TYPE_CHECKING:
    from heygem.provenance.ledger import Ledger
    from heygem.provenance.ledger.heads import Head
    from heygem.provenance.ledger.rows import Entry, Fault

app = typer.Typer(help="The record of everything made.", no_args_is_help=True)

Anchors = Annotated[
    list[Path] | None,
    typer.Option("--anchor", metavar="A.json", help="Of `heygem ledger anchor`; may be repeated."),
]


def open_for_reading() -> "Ledger":
    """This installation's ledger; an AssetError where nothing was recorded yet."""
    from heygem.provenance import keys
    from heygem.provenance.ledger import Ledger, default_path

    installed = keys.load_for_reading()
    if installed is None:
        raise AssetError(
            "nothing has been recorded here", seen=default_path(), remedy="make a video first"
        )
    if not isinstance(installed, keys.Keys):
        typer.echo(
            f"the keys are gone ({keys.folder()}): the public keys in the ledger itself are used."
            " Restore them with `heygem keys restore BACKUP`.",
            err=True,
        )
    return Ledger(keys=installed)


def open_for_writing() -> "Ledger":
    """This installation's ledger; keys are made where there are none."""
    from heygem.provenance import keys
    from heygem.provenance.ledger import Ledger

    return Ledger(keys=keys.ensure())


@app.command("verify")
def verify(anchor: Anchors = None) -> None:
    """Check every row; names the rows that were tampered with, exit code 1."""
    from heygem.provenance.ledger.check import LOSS

    ledger = open_for_reading()
    _report(ledger.verify(_read_anchors(anchor)))
    typer.echo(f"{len(ledger.entries())} rows, every one as it was written")
    for entry in ledger.entries(kind=LOSS):
        for first, last in entry.body["missing"]:
            rows = f"row {first} is" if first == last else f"rows {first} to {last} are"
            typer.echo(f"{rows} missing: {entry.body['reason']} (row {entry.number})")
    for entry in ledger.unfinished():
        typer.echo(f"row {entry.number} ({entry.body.get('title', '')}) {_progress(entry)}")


@app.command("check")
def check(
    rows: Annotated[Path, typer.Argument(metavar="ROWS.jsonl", help="Of `heygem ledger export`.")],
    public_keys: Annotated[Path, typer.Option(metavar="P.json", help="Of `heygem keys public`.")],
    anchor: Anchors = None,
) -> None:
    """Check exported rows on any machine, with the public keys; exit code 1 where any is wrong."""
    from heygem.provenance.keys.public import read_public_keys
    from heygem.provenance.ledger import export as ledger_export
    from heygem.provenance.ledger.check import check_head, check_rows

    keys, exported = read_public_keys(public_keys), ledger_export.read(rows)
    is_whole = not exported or exported[0][0] == 1
    faults = check_rows(exported, keys, is_whole=is_whole)
    for name, head in _read_anchors(anchor):
        faults += check_head(head, exported, keys, name=name)
    _report(faults)
    span = f"{exported[0][0]} to {exported[-1][0]}" if exported else "none"
    typer.echo(f"{len(exported)} rows ({span}), every one as it was written")
    for key in keys.keys:
        typer.echo(f"signed by {key.public_hex}")


@app.command("list")
def list_rows(
    last: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
    kind: Annotated[str | None, typer.Option(help="made, consent, blocked ...")] = None,
) -> None:
    """The newest rows."""
    ledger = open_for_reading()
    unfinished = {entry.number: entry for entry in ledger.unfinished()}
    for entry in ledger.entries(kind=kind)[-last:]:
        about = entry.body.get("title") or entry.body.get("reason") or entry.body.get("who") or ""
        if entry.number in unfinished:
            about = f"{about} ({_progress(entry)})"
        typer.echo(f"{entry.number:6} {entry.time_utc[:19]} {entry.kind:18} {about}")


@app.command("export")
def export(
    out: Annotated[Path, typer.Argument(metavar="OUT.jsonl")],
    since: Annotated[str | None, typer.Option(help="From this day on, YYYY-MM-DD.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this day, YYYY-MM-DD.")] = None,
) -> None:
    """Write rows for an authority: JSON lines with their hashes and signatures."""
    count = open_for_reading().export(out, since=since, until=until)
    typer.echo(f"{count} rows in {out}")


@app.command("anchor")
def anchor(
    out: Annotated[Path, typer.Argument(metavar="OUT.json", help="For somebody else to store.")],
) -> None:
    """Write number and hash of the newest row, signed: it proves later that none was removed."""
    from heygem.provenance.ledger.export import write_new

    head = open_for_reading().anchor()
    write_new(out, head.to_json())
    typer.echo(f"row {head.number}, {head.hash}, signed by {head.public_key} in {out}")


@app.command("state-loss")
def state_loss(
    reason: Annotated[str, typer.Option(help="How they were lost.")],
    requester: Annotated[str, typer.Option(help="Who states it.")],
    approver: Annotated[str, typer.Option(help="Another person, who agrees to it.")],
) -> None:
    """Record that rows were lost with a disk, so that `verify` reports new faults alone."""
    from heygem.provenance.ledger import loss as ledger_loss

    ledger = open_for_reading()
    entry = ledger_loss.state_loss(ledger, reason, requester=requester, approver=approver)
    typer.echo(f"recorded in ledger row {entry.number}")


@app.command("backup")
def backup(out: Annotated[Path, typer.Argument(metavar="OUT.db")]) -> None:
    """Copy the database, also while videos are being made."""
    open_for_reading().backup(out)
    typer.echo(f"copied to {out}")


def _read_anchors(paths: list[Path] | None) -> list[tuple[str, "Head"]]:
    from heygem.provenance.ledger.heads import read_anchor

    return [(f"the anchor {path}", read_anchor(path)) for path in paths or ()]


def _report(faults: "list[Fault]") -> None:
    """Print faults; exits with 1 if there are any."""
    for fault in faults:
        typer.echo(f"row {fault.number}: {fault.problem}")
    if faults:
        raise typer.Exit(1)


def _progress(entry: "Entry") -> str:
    """What is known of a run that has no end in the ledger."""
    from heygem.provenance.ledger.rows import is_running

    if is_running(entry):
        return f"is being made by process {entry.body['process']['id']}"
    return "was begun and has no end: it was killed, or runs on another machine"
