"""The public halves of an installation's keys: they check signatures, and are no secret."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from heygem.core.errors import InputError
from heygem.core.types import PathLike
from heygem.provenance.ledger.rows import signing_key_name

_FORMAT = {"format": "heygem public keys", "version": 1}


@dataclass(frozen=True)
class PublicKey:
    """The public half of a signing key, and when it was in use.

    Attributes
    ----------
    public_hex : str
        64 hexadecimal digits.
    created_utc, retired_utc : str
        ISO 8601; empty where unknown, and while it is in use.
    reason : str
        Why it was retired.
    is_stolen : bool
        Somebody else may have the secret: since then, its signatures alone prove nothing.
    """

    public_hex: str
    created_utc: str = ""
    retired_utc: str = ""
    reason: str = ""
    is_stolen: bool = False

    def __post_init__(self) -> None:
        if len(bytes.fromhex(self.public_hex)) != 32:
            raise ValueError(f"the public key {self.public_hex[:16]} is damaged")

    @property
    def name(self) -> str:
        """Sixteen hexadecimal digits that identify the key in signatures."""
        return self.public_hex[:16]


@dataclass(frozen=True)
class PublicKeys:
    """Checks signatures of one installation, by its key in use and by its retired ones.

    Attributes
    ----------
    keys : tuple of PublicKey
        The one in use first.
    anchors_pem : str
        The roots of certificates that the installation trusts.
    """

    keys: tuple[PublicKey, ...]
    anchors_pem: str

    def find(self, signature: str) -> PublicKey | None:
        """The key that `ed25519:<key name>:<signature>` names, None if it is not ours."""
        name = signing_key_name(signature)
        return next((key for key in self.keys if key.name == name), None)

    def verify(self, message: bytes, signature: str) -> bool | None:
        """Whether `signature` is this installation's over `message`; None for another's."""
        key = self.find(signature)
        if key is None:
            return None
        public = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_hex))
        try:
            public.verify(bytes.fromhex(signature.rpartition(":")[2]), message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_json(self) -> str:
        """JSON for somebody who checks this installation's signatures."""
        return json.dumps(_FORMAT | asdict(self), indent=1) + "\n"


def read_public_keys(path: PathLike) -> PublicKeys:
    """The public keys in a file that `heygem keys public` wrote.

    Raises
    ------
    InputError
        It cannot be read, or holds something else.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if {name: data.pop(name, None) for name in _FORMAT} != _FORMAT:
            raise ValueError("not a file of public keys of this version")
        keys = tuple(PublicKey(**key) for key in data["keys"])
        return PublicKeys(keys, str(data["anchors_pem"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            "the public keys cannot be read",
            seen=f"{path}: {error}",
            remedy="give a file that `heygem keys public` wrote",
        ) from error


def public_half(key: PublicKey) -> PublicKey:
    """A key without what a subclass adds to it: without secrets."""
    return PublicKey(**{field.name: getattr(key, field.name) for field in fields(PublicKey)})
