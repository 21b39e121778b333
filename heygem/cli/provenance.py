"""Compliance commands: verify, consent, policy and sbom; with those of keys and ledger."""

import json
from pathlib import Path
from typing import Annotated

import typer

from heygem.cli import keys as keys_commands
from heygem.cli import ledger as ledger_commands
from heygem.cli.options import renamed
from heygem.core.errors import HeygemError, InputError, ParameterError
from heygem.core.files import hash_input

COMPLIANT, NONCOMPLIANT, UNREADABLE, NOT_FOUND, INCONCLUSIVE = 0, 1, 2, 3, 4  # exit codes

consent_app = typer.Typer(help="Consents of the people shown, and takedowns.", no_args_is_help=True)
policy_app = typer.Typer(help="Rules of a studio that serves others.", no_args_is_help=True)


def add_commands(app: typer.Typer) -> None:
    """Add these commands to the main one."""
    app.command()(verify)
    app.command("sbom")(list_components)
    app.command(hidden=True)(inventory)  # its earlier name, for one release
    app.add_typer(keys_commands.app, name="keys")
    app.add_typer(ledger_commands.app, name="ledger")
    app.add_typer(consent_app, name="consent")
    app.add_typer(policy_app, name="policy")


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Videos to read.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a file.")] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="OUT.pdf", help="Write a trace report: .pdf or .md."),
    ] = None,
    redacted: Annotated[
        bool,
        typer.Option("--redacted", help="Without names of users, files and folders."),
    ] = False,
    public_keys: Annotated[
        Path | None,
        typer.Option(
            "--public-keys",
            metavar="KEYS.json",
            help="Check the signature of another installation, see `heygem keys public`.",
        ),
    ] = None,
    search: Annotated[
        bool, typer.Option(help="Also look for parts and changed copies; takes seconds.")
    ] = True,
) -> None:
    """Read the labels of files, and conclude from all evidence which run made them.

    Exit code: 0 if every file is labelled correctly; 1 if a label is wrong, copied from another
    file, missing beside others, or without its row in the ledger; 2 if a file cannot be read; 3 if
    there is no label; 4 if it cannot be decided. Of several files the most severe counts.
    """
    from heygem.experiments import store
    from heygem.provenance import trace, trace_report
    from heygem.provenance import verify as reading
    from heygem.provenance.keys.public import read_public_keys

    if report is not None and len(files) > 1:
        raise InputError("a trace report is about one file", seen=f"{len(files)} files")
    codes = {
        reading.COMPLIANT: COMPLIANT,
        reading.NONCOMPLIANT: NONCOMPLIANT,
        reading.NOT_FOUND: NOT_FOUND,
        reading.INCONCLUSIVE: INCONCLUSIVE,
    }
    others = read_public_keys(public_keys) if public_keys is not None else None
    exit_codes = []
    for path in files:
        try:
            traced = trace.trace_file(path, search=search, public_keys=others)
        except HeygemError as error:
            exit_codes.append(UNREADABLE)
            if as_json:
                typer.echo(json.dumps({"path": str(path), "error": str(error)}, ensure_ascii=False))
            else:
                typer.echo(f"{path}: cannot be verified: {error}", err=True)
            continue
        exit_codes.append(codes[traced.verdict])
        run = None
        if traced.origin is not None and not redacted:
            run = store.find_run(traced.origin.entry)
        if as_json:
            data = traced.to_dict(redacted=redacted) | {"mlflow": run}
            typer.echo(json.dumps(data, ensure_ascii=False, default=float))
        else:
            typer.echo(trace_report.text(traced, run, redacted=redacted))
        if report is not None:
            trace_report.write(report, traced, run, redacted=redacted)
            typer.echo(f"report: {report}", err=True)
    by_severity = (UNREADABLE, NONCOMPLIANT, NOT_FOUND, INCONCLUSIVE, COMPLIANT)
    raise typer.Exit(next(code for code in by_severity if code in exit_codes))


Recording = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The recording; or give --sha256.")
]
Hash = Annotated[str | None, typer.Option("--sha256", help="Its hash, where it is not at hand.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]


def _subject(path: Path | None, sha256: str | None) -> str:
    """sha256 of the recording that a command names by file or by hash."""
    if path is not None and sha256 is None:
        return hash_input(path)
    if path is not None or sha256 is None:
        raise InputError("name one recording", remedy="give a file or --sha256")
    if len(sha256) != 64:
        raise InputError("this is not a sha256", seen=sha256, remedy="64 hexadecimal digits")
    return sha256.lower()


@consent_app.command("add")
def consent_add(
    who: Annotated[str, typer.Option(help="Who agreed; a code is better than a name.")],
    purpose: Annotated[str, typer.Option(help="To what.")],
    until: Annotated[str, typer.Option(help="Last day, YYYY-MM-DD.")],
    reference: Annotated[str, typer.Option(help="Where the agreement lies.")],
    file: Recording = None,
    sha256: Hash = None,
) -> None:
    """Record that the person in a recording agreed to be shown speaking other words."""
    from heygem.provenance import consent

    entry = consent.record(
        ledger_commands.open_for_writing(),
        _subject(file, sha256),
        who=who,
        purpose=purpose,
        until=until,
        reference=reference,
    )
    typer.echo(f"recorded in ledger row {entry.number}")


def _record_change(
    action: str, file: Path | None, sha256: str | None, reason: str, **people: str
) -> None:
    from heygem.provenance import consent

    change = getattr(consent, action)
    entry = change(
        ledger_commands.open_for_writing(), _subject(file, sha256), reason=reason, **people
    )
    typer.echo(f"recorded in ledger row {entry.number}")


@consent_app.command("withdraw")
def consent_withdraw(reason: Reason, file: Recording = None, sha256: Hash = None) -> None:
    """Record that a consent no longer holds; the recording is refused from now on."""
    _record_change("withdraw", file, sha256, reason)


@consent_app.command("block")
def consent_block(reason: Reason, file: Recording = None, sha256: Hash = None) -> None:
    """Take down: this recording or sound is refused from now on."""
    _record_change("block", file, sha256, reason)


@consent_app.command("unblock")
def consent_unblock(
    reason: Reason,
    requester: Annotated[str, typer.Option(help="Who asks for it.")],
    approver: Annotated[str, typer.Option(help="Another person, who agrees to it.")],
    file: Recording = None,
    sha256: Hash = None,
) -> None:
    """Lift a takedown; two different people answer for it, and both are recorded."""
    _record_change("unblock", file, sha256, reason, requester=requester, approver=approver)


Rulebook = Annotated[Path, typer.Argument(metavar="POLICY.yaml", help="See params/served.")]


@policy_app.command("check")
def policy_check(path: Rulebook) -> None:
    """Show what these rules allow, and what each user has used of it in the last 24 hours."""
    from heygem.server import policy
    from heygem.server.quota import usage

    rules, ledger = policy.Rules(path), ledger_commands.open_for_writing()
    quota, limits = rules.policy.quota, rules.policy.limits
    typer.echo(f"agreement  {rules.version[:16]}, {len(rules.agreement)} characters")
    typer.echo(f"reviewers  group {rules.policy.reviewers}")
    typer.echo(
        f"largest    video {limits.video_minutes:g} min, {limits.video_megapixels:g} Mpx; "
        f"sound {limits.sound_minutes:g} min; file {limits.upload_mb:g} MiB, "
        f"all of a user's {limits.stored_mb:g} MiB"
    )
    users = {row.subject for kind in ("agreed", "admitted") for row in ledger.entries(kind=kind)}
    for name in sorted(users):
        used = usage(ledger, name)
        agreed = "agreed" if rules.has_agreed(ledger, name) else "has not agreed to this text"
        typer.echo(
            f"{name:10} {used['videos']} of {quota.videos_per_day} videos, "
            f"{used['minutes']:.1f} of {quota.minutes_per_day:g} minutes; {agreed}"
        )


@policy_app.command("user", hidden=True)
def policy_user(path: Rulebook, name: str) -> None:
    """Of earlier versions: accounts are JupyterHub's."""
    from heygem.server.policy import REMOVED

    raise ParameterError(
        "a policy names no users any more", seen=f"{path} {name}", remedy=REMOVED["users"]
    )


def list_components(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write it into this folder.")
    ] = None,
) -> None:
    """List every dependency, pretrained file and capability, for counsel; without a verdict."""
    from heygem.provenance import sbom

    items = sbom.collect()
    if out is None:
        typer.echo(sbom.report(items))
        return
    for path in sbom.write(items, out):
        typer.echo(path)


def inventory(
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR")] = None,
) -> None:
    """The earlier name of `heygem sbom`."""
    renamed("heygem inventory", "heygem sbom")
    list_components(out)
