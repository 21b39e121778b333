"""`heygem keys`: make, renew, replace, back up and show the keys of this installation."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from heygem.cli.options import renamed
from heygem.core.errors import InputError

app = typer.Typer(help="The keys this installation labels with.", no_args_is_help=True)

Organisation = Annotated[str, typer.Option(help="Name in the certificates.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the passphrase from its first line.")
]


@app.command("init")
def init(
    organisation: Organisation = "heygem local",
    replace_lost: Annotated[
        bool,
        typer.Option(
            "--replace-lost",
            help="The keys that signed the ledger are lost for good: continue with new ones.",
        ),
    ] = False,
) -> None:
    """Make the keys: for signing metadata, for Content Credentials, for the invisible watermark."""
    from heygem.provenance import keys

    created = keys.init(organisation=organisation, replace_lost=replace_lost)
    typer.echo(
        f"keys in {created.folder}, named {created.name}. Back them up with `heygem keys backup`:"
        " they cannot be made again."
    )


@app.command("renew")
def renew(organisation: Organisation = "heygem local") -> None:
    """A new certificate for Content Credentials; everything signed before stays trusted."""
    from heygem.provenance.keys import changes as key_changes

    renewed = key_changes.renew(organisation=organisation)
    typer.echo(f"new certificate in {renewed.folder}")


@app.command("rotate")
def rotate(
    reason: Annotated[str, typer.Option(help="Why; stored with the keys and in the ledger.")],
    stolen: Annotated[
        bool,
        typer.Option(
            "--stolen", help="Somebody else may have them: trust their certificates no longer."
        ),
    ] = False,
    organisation: Organisation = "heygem local",
) -> None:
    """Replace the keys by new ones; files labelled with the old ones are still recognised."""
    from heygem.provenance.keys import changes as key_changes

    rotated = key_changes.rotate(reason=reason, is_stolen=stolen, organisation=organisation)
    retired = rotated.public.keys[1]
    typer.echo(
        f"key {rotated.name} replaces {retired.name}, which stays in {rotated.folder} to recognise"
        " earlier files. Back them up with `heygem keys backup`, and start programs that are"
        " running again."
    )


CertificateChain = Annotated[
    Path, typer.Argument(metavar="CHAIN.pem", help="Certificates, yours first.")
]
PrivateKey = Annotated[Path, typer.Argument(metavar="KEY.pem", help="Its private key, P-256.")]


@app.command("import")
def import_certificate(chain: CertificateChain, key: PrivateKey) -> None:
    """Sign Content Credentials with a certificate of your own from now on."""
    from heygem.provenance import keys
    from heygem.provenance.keys import changes as key_changes

    keys.ensure()
    imported = key_changes.import_certificate(chain, key)
    typer.echo(f"certificate in {imported.folder}; what was signed before stays trusted here")


@app.command("adopt", hidden=True)
def adopt(chain: CertificateChain, key: PrivateKey) -> None:
    """The earlier name of `heygem keys import`."""
    renamed("heygem keys adopt", "heygem keys import")
    import_certificate(chain, key)


@app.command("show")
def show() -> None:
    """Show which keys there are, and until when the certificate is valid. Shows no secret."""
    from cryptography import x509

    from heygem.provenance import keys

    installed = keys.load()
    leaf = x509.load_pem_x509_certificate(installed.chain_pem.encode())
    typer.echo(f"folder       {installed.folder}")
    typer.echo(f"name         {installed.name}")
    typer.echo(f"public key   {installed.public_hex}")
    typer.echo(f"certificate  {leaf.subject.rfc4514_string()}")
    typer.echo(f"valid until  {leaf.not_valid_after_utc:%Y-%m-%d}")
    for key in installed.public.keys[1:]:
        secret = "" if key.name in installed.watermark_secrets else ", secrets lost"
        stolen = ", stolen" if key.is_stolen else ""
        typer.echo(f"retired      {key.name} {key.retired_utc[:10]}: {key.reason}{stolen}{secret}")


@app.command("public")
def public(out: Annotated[Path, typer.Argument(metavar="OUT.json")]) -> None:
    """Write the public keys and roots, for somebody who checks what this installation signed."""
    from heygem.core.errors import AssetError
    from heygem.provenance import keys
    from heygem.provenance.ledger.export import write_new

    installed = keys.load_for_reading()
    if installed is None:
        raise AssetError("there are no keys", seen=keys.folder(), remedy="run `heygem keys init`")
    public_keys = installed.public if isinstance(installed, keys.Keys) else installed
    write_new(out, public_keys.to_json())
    typer.echo(f"{len(public_keys.keys)} public keys in {out}")


@app.command("backup")
def backup(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file on another disk.")],
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Do not encrypt it: protect the file yourself.")
    ] = False,
) -> None:
    """Write all keys, retired ones too, to one file; asks for a passphrase to encrypt it with."""
    from heygem.provenance.keys import backup as key_backup

    passphrase = None
    if not no_passphrase:
        passphrase = read_passphrase(passphrase_file, is_new=True)
    ring = key_backup.backup(out, passphrase=passphrase)
    state = "not encrypted: whoever has it can sign as you" if no_passphrase else "encrypted"
    typer.echo(f"{len(ring.keys)} keys in {out}, {state}")


@app.command("restore")
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="Of `heygem keys backup`.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put keys back from a backup; keys that are there stay in use."""
    from heygem.provenance.keys import backup as key_backup

    passphrase = None
    if key_backup.is_encrypted(source):
        passphrase = read_passphrase(passphrase_file, is_new=False)
    restored, names = key_backup.restore(source, passphrase=passphrase)
    if not names:
        typer.echo(f"all keys of the backup are in {restored.folder} already")
        return
    typer.echo(f"restored {', '.join(names)} in {restored.folder}; in use is {restored.name}")
    if restored.name not in names:
        typer.echo("Back up again: the key in use is not in this backup.", err=True)


def read_passphrase(file: Path | None, *, is_new: bool) -> str:
    """From a file, or asked for; an InputError where nobody can be asked, or it is empty."""
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the passphrase cannot be read", seen=f"{file}: {error}") from error
        passphrase = lines[0] if lines else ""
    elif sys.stdin is None or not sys.stdin.isatty():
        raise InputError(
            "the passphrase cannot be asked for: this is no terminal",
            remedy="give --passphrase-file FILE" + (", or --no-passphrase" if is_new else ""),
        )
    else:
        passphrase = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new)
    if not passphrase:
        raise InputError(
            "the passphrase is empty", seen=file, remedy="give one, or --no-passphrase"
        )
    return passphrase
