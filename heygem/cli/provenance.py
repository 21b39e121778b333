"""What compliance officers use: verify, keys, ledger, consent, policy and sbom."""

import json
from pathlib import Path
from typing import Annotated

import typer

from heygem.core.errors import AssetError, HeygemError, InputError
from heygem.core.files import hash_input
from heygem.provenance import ledger as record

COMPLIANT, NONCOMPLIANT, UNREADABLE, NOT_FOUND, INCONCLUSIVE = 0, 1, 2, 3, 4  # exit codes

keys_app = typer.Typer(help="The keys this installation labels with.", no_args_is_help=True)
ledger_app = typer.Typer(help="The record of everything made.", no_args_is_help=True)
consent_app = typer.Typer(help="Consents of the people shown, and takedowns.", no_args_is_help=True)
policy_app = typer.Typer(help="Rules of a studio that serves others.", no_args_is_help=True)


class _Lazy:
    """`heygem.provenance.keys`, loaded when first used: it takes a while, and --help must not."""

    def __getattr__(self, name):
        from heygem.provenance import keys

        return getattr(keys, name)


secret = _Lazy()


def mount(app):
    """Hang these commands under the main one."""
    app.command()(verify)
    app.command("sbom")(list_components)
    app.command(hidden=True)(inventory)  # its earlier name, for one release
    app.add_typer(keys_app, name="keys")
    app.add_typer(ledger_app, name="ledger")
    app.add_typer(consent_app, name="consent")
    app.add_typer(policy_app, name="policy")


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Videos to read.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a file.")] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="OUT.pdf", help="Write a trace report: .pdf or .md."),
    ] = None,
    search: Annotated[
        bool, typer.Option(help="Also look for the watermark in cropped copies; takes seconds.")
    ] = True,
):
    """Read the labels of files, and say which run made them.

    Leaves with 0 when every file is labelled as it should be, 1 when a label is wrong or one of
    two is missing, 2 when a file cannot be read, 3 when there is none at all, 4 when it cannot be
    told. Of several files the gravest counts.
    """
    from heygem.experiments import store
    from heygem.provenance import trace, trace_report
    from heygem.provenance import verify as reading

    if report is not None and len(files) > 1:
        raise InputError("a trace report is about one file", seen=f"{len(files)} files")
    codes = {
        reading.COMPLIANT: COMPLIANT,
        reading.NONCOMPLIANT: NONCOMPLIANT,
        reading.NOT_FOUND: NOT_FOUND,
        reading.INCONCLUSIVE: INCONCLUSIVE,
    }
    seen = []
    for path in files:
        try:
            found, origin, book = trace.trace_file(path, search=search)
        except HeygemError as error:
            seen.append(UNREADABLE)
            if as_json:
                typer.echo(json.dumps({"path": str(path), "error": str(error)}, ensure_ascii=False))
            else:
                typer.echo(f"{path}: cannot be read: {error}", err=True)
            continue
        seen.append(codes[found.verdict])
        if as_json:
            data = found.to_dict() | {"origin": origin and origin.to_dict()}
            data["mlflow"] = origin and store.run_of(origin.entry)
            typer.echo(json.dumps(data, ensure_ascii=False, default=float))
        else:
            _print_reading(found, origin)
        if report is not None:
            if book is None:
                raise AssetError(
                    "there is no ledger to write a report from", remedy="run `heygem keys init`"
                )
            trace_report.write(report, found, origin, book, origin and store.run_of(origin.entry))
            typer.echo(f"report: {report}", err=True)
    grave = (UNREADABLE, NONCOMPLIANT, NOT_FOUND, INCONCLUSIVE, COMPLIANT)
    raise typer.Exit(next(code for code in grave if code in seen))


def _print_reading(found, origin):
    from heygem.experiments import store
    from heygem.provenance import trace

    typer.echo(f"{found.path}: {found.verdict}")
    for name, layer in found.layers.items():
        findings = f"  {'; '.join(layer.findings)}" if layer.findings else ""
        typer.echo(f"  {name:9} {layer.verdict:13}{findings}")
    if origin is None:
        typer.echo("  origin    not a run of this installation, as far as can be told")
        return
    body = origin.entry.body
    sure = "run" if origin.is_proven else "probably run"
    typer.echo(f"  origin    {sure} recorded in ledger row {origin.entry.number}:")
    typer.echo(f"            made {origin.entry.time_utc} by {body.get('user')}")
    typer.echo(f"            as {body.get('title')}")
    for name, value in trace.input_summary(body).items():
        typer.echo(f"            {name}: {value}")
    shown = store.run_of(origin.entry)
    if shown is not None:
        typer.echo(
            f"            MLflow: run {shown['run_id']}, heygem ui --folder {shown['folder']}"
        )
    typer.echo(f"            found by {', '.join(origin.evidence)}")


@keys_app.command("init")
def keys_init(
    organisation: Annotated[str, typer.Option(help="Name in the certificates.")] = "heygem local",
):
    """Make the keys: for signing metadata, for Content Credentials, for the invisible watermark."""
    made = secret.init(organisation=organisation)
    typer.echo(
        f"keys in {made.folder}, named {made.name}. Back them up: they cannot be made again."
    )


@keys_app.command("renew")
def keys_renew(
    organisation: Annotated[str, typer.Option(help="Name in the certificates.")] = "heygem local",
):
    """A new certificate for Content Credentials; everything signed before stays trusted."""
    made = secret.renew(organisation=organisation)
    typer.echo(f"new certificate in {made.folder}")


@keys_app.command("adopt")
def keys_adopt(
    chain: Annotated[Path, typer.Argument(metavar="CHAIN.pem", help="Certificates, yours first.")],
    key: Annotated[Path, typer.Argument(metavar="KEY.pem", help="Its private key, P-256.")],
):
    """Sign Content Credentials with a certificate of your own from now on."""
    secret.ensure()
    made = secret.import_certificate(chain, key)
    typer.echo(f"certificate in {made.folder}; what was signed before stays trusted here")


@keys_app.command("show")
def keys_show():
    """Say which keys there are, and until when the certificate holds. Shows no secret."""
    from cryptography import x509

    mine = secret.load()
    leaf = x509.load_pem_x509_certificate(mine.chain_pem.encode())
    typer.echo(f"folder       {mine.folder}")
    typer.echo(f"name         {mine.name}")
    typer.echo(f"public key   {mine.public_hex}")
    typer.echo(f"certificate  {leaf.subject.rfc4514_string()}")
    typer.echo(f"holds until  {leaf.not_valid_after_utc:%Y-%m-%d}")


def _ledger():
    mine = secret.load() if secret.folder().exists() else None
    if mine is None and not record.default_path().exists():
        raise AssetError(
            "nothing has been recorded here",
            seen=record.default_path(),
            remedy="make a video first",
        )
    return record.Ledger(keys=mine)


@ledger_app.command("verify")
def ledger_verify():
    """Check every row; leaves with 1 and names the rows where the record was tampered with."""
    book = _ledger()
    faults = book.verify()
    for fault in faults:
        typer.echo(f"row {fault.number} {fault.problem}")
    if faults:
        raise typer.Exit(1)
    typer.echo(f"{len(book.entries())} rows, every one as it was written")


@ledger_app.command("list")
def ledger_list(
    last: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
    kind: Annotated[str | None, typer.Option(help="made, consent, blocked ...")] = None,
):
    """The newest rows."""
    for entry in _ledger().entries(kind=kind)[-last:]:
        about = entry.body.get("title") or entry.body.get("reason") or entry.body.get("who") or ""
        typer.echo(f"{entry.number:6} {entry.time_utc[:19]} {entry.kind:18} {about}")


@ledger_app.command("export")
def ledger_export(
    out: Annotated[Path, typer.Argument(metavar="OUT.jsonl")],
    since: Annotated[str | None, typer.Option(help="From this day on, YYYY-MM-DD.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this day, YYYY-MM-DD.")] = None,
):
    """Write rows for an authority: JSON lines with their hashes and signatures."""
    count = _ledger().export(out, since=since, until=until)
    typer.echo(f"{count} rows in {out}")


Recording = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The recording; or give --sha256.")
]
Hash = Annotated[str | None, typer.Option("--sha256", help="Its hash, where it is not at hand.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]


def _subject(path, sha256):
    if (path is None) == (sha256 is None):
        raise InputError("name one recording", remedy="give a file or --sha256")
    if sha256 is not None and len(sha256) != 64:
        raise InputError("this is not a sha256", seen=sha256, remedy="64 hexadecimal digits")
    return sha256.lower() if sha256 is not None else hash_input(path)


@consent_app.command("add")
def consent_add(
    who: Annotated[str, typer.Option(help="Who agreed; a code is better than a name.")],
    purpose: Annotated[str, typer.Option(help="To what.")],
    until: Annotated[str, typer.Option(help="Last day, YYYY-MM-DD.")],
    reference: Annotated[str, typer.Option(help="Where the agreement lies.")],
    file: Recording = None,
    sha256: Hash = None,
):
    """Record that the person in a recording agreed to be shown speaking other words."""
    from heygem.provenance import consent

    entry = consent.record(
        record.Ledger(keys=secret.ensure()),
        _subject(file, sha256),
        who=who,
        purpose=purpose,
        until=until,
        reference=reference,
    )
    typer.echo(f"recorded in ledger row {entry.number}")


def _change(what, file, sha256, reason):
    from heygem.provenance import consent

    book = record.Ledger(keys=secret.ensure())
    entry = getattr(consent, what)(book, _subject(file, sha256), reason=reason)
    typer.echo(f"recorded in ledger row {entry.number}")


@consent_app.command("withdraw")
def consent_withdraw(reason: Reason, file: Recording = None, sha256: Hash = None):
    """Record that a consent no longer holds; the recording is refused from now on."""
    _change("withdraw", file, sha256, reason)


@consent_app.command("block")
def consent_block(reason: Reason, file: Recording = None, sha256: Hash = None):
    """Take down: this recording or sound is refused from now on."""
    _change("block", file, sha256, reason)


@consent_app.command("unblock")
def consent_unblock(reason: Reason, file: Recording = None, sha256: Hash = None):
    """Lift a takedown."""
    _change("unblock", file, sha256, reason)


Rulebook = Annotated[Path, typer.Argument(metavar="POLICY.yaml", help="See params/served.")]


@policy_app.command("check")
def policy_check(path: Rulebook):
    """Say what these rules allow, and what each person has used of it in the last 24 hours."""
    from heygem.server import policy
    from heygem.server.quota import usage

    rules, book = policy.Rules(path), record.Ledger(keys=secret.ensure())
    quota, limits = rules.policy.quota, rules.policy.limits
    everywhere = rules.networks is None
    where = "anywhere" if everywhere else f"{len(rules.networks)} networks"
    proxies = ", ".join(map(str, rules.proxies)) or "none is believed"
    typer.echo(f"agreement  {rules.version[:16]}, {len(rules.agreement)} characters")
    typer.echo(f"answered   {where}; proxies: {proxies}")
    typer.echo(
        f"largest    video {limits.video_minutes:g} min, {limits.video_megapixels:g} Mpx; "
        f"sound {limits.sound_minutes:g} min; upload {limits.upload_mb:g} MiB"
    )
    typer.echo(f"folders    {', '.join(limits.folders)}")
    for name in sorted(rules.users):
        used = usage(book, name)
        agreed = "agreed" if rules.has_agreed(book, name) else "has not agreed to this text"
        typer.echo(
            f"{name:10} {used['videos']} of {quota.videos_per_day} videos, "
            f"{used['minutes']:.1f} of {quota.minutes_per_day:g} minutes; {agreed}"
        )


@policy_app.command("user")
def policy_user(
    path: Rulebook,
    name: Annotated[str, typer.Argument(help="Small letters, digits, dots, dashes.")],
):
    """Add somebody, or give them a new password; it is asked for."""
    from heygem.server import policy

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    policy.set_password(path, name, password)
    typer.echo(f"{name} may log in once the studio is started anew")


def list_components(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write it into this folder.")
    ] = None,
):
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
):
    """The earlier name of `heygem sbom`."""
    typer.echo("notice: `heygem inventory` is now called `heygem sbom`", err=True)
    list_components(out)
