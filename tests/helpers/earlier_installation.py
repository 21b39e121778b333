"""Keys and a ledger as the earlier version stored them."""

import datetime
import hashlib
import json
import os
import secrets
import sqlite3

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from heygem.provenance.keys.certificates import PEM, issue_chain

_NOT_ENCRYPTED = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
_SCHEMA = """
CREATE TABLE entries (
  number INTEGER PRIMARY KEY, time_utc TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
  mark_id TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
  signature TEXT NOT NULL
) STRICT;
CREATE INDEX by_subject ON entries (subject);
CREATE INDEX by_mark ON entries (mark_id) WHERE mark_id <> '';
CREATE TRIGGER never_changed BEFORE UPDATE ON entries
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER never_removed BEFORE DELETE ON entries
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


def write_keys(folder):
    """Five files with one set of keys; returns the signing key."""
    signer = ed25519.Ed25519PrivateKey.generate()
    leaf_key, leaf, root = issue_chain("heygem local", 825)
    folder.mkdir(parents=True, mode=0o700)
    for name, content in (
        ("sign.key", signer.private_bytes(PEM, *_NOT_ENCRYPTED)),
        ("mark.key", secrets.token_hex(32).encode() + b"\n"),
        ("c2pa.key", leaf_key.private_bytes(PEM, *_NOT_ENCRYPTED)),
        ("c2pa-chain.pem", leaf.public_bytes(PEM) + root.public_bytes(PEM)),
        ("anchors.pem", root.public_bytes(PEM)),
    ):
        path = folder / name
        path.write_bytes(content)
        path.chmod(0o600)
    return signer


def write_ledger(path, signer, count):
    """A signed ledger of so many rows, with the head file of that version."""
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    name = signer.public_key().public_bytes(*raw).hex()[:16]
    previous = "0" * 64
    with sqlite3.connect(path) as db:
        db.executescript(_SCHEMA)
        for number in range(1, count + 1):
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
            body = json.dumps(
                {"user": "李", "n": number}, ensure_ascii=False, separators=(",", ":")
            )
            fields = (number, now, "made", f"file{number}", f"{number:016x}", body, previous)
            text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
            previous = hashlib.sha256(text.encode()).hexdigest()
            signature = f"ed25519:{name}:{signer.sign(bytes.fromhex(previous)).hex()}"
            row = (*fields, previous, signature)
            db.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?)", row)
    db.close()
    os.chmod(path, 0o600)
    path.with_name(f"{path.name}.head").write_text(f"{count} {previous}\n")
