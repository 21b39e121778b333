"""Content Credentials (C2PA): a signed statement of a file's origin, bound to every byte.

They are written last, since any later change of the file invalidates them; they therefore cover the
metadata label too. They state that a recording was opened and edited, and that the result is a
composite with media made by a trained algorithm. The input's own credentials, if any, are kept
inside as the parent ingredient. Nothing is fetched: no time-stamping service, no remote manifests.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heygem.core import disk
from heygem.core.errors import OutputError
from heygem.core.leftovers import hidden_path
from heygem.core.types import PathLike
from heygem.provenance.keys import Keys
from heygem.provenance.keys.public import PublicKeys

DIGITAL_SOURCE_TYPE = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
# File suffix -> media type. Matroska cannot hold credentials.
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".m4a": "audio/mp4",
    ".avi": "video/x-msvideo",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}

_MANIFEST_BYTES = 50_000  # of credentials in a file, about
_LARGE_BYTES = 32 << 20  # a larger file is hashed in parts of `_PART_KB`, and signed on the disk
_PART_KB = 4096


@dataclass(frozen=True)
class Credentials:
    """The content of a file's credentials.

    `state` is `Trusted` (signed under a root this installation trusts), `Valid` (intact, signed by
    another installation) or `Invalid`; `actions` are pairs of name and digital source type;
    `parents` has one entry per source recording, true if that recording's own credentials are
    included; `failures` are the failed checks, in the standard's codes; `title` is the content
    number (the file name in results of heygem 0.1).
    """

    state: str
    signer: str
    actions: list[tuple[str, str | None]]
    parents: list[bool]
    failures: list[str]
    generator: str
    title: str = ""

    @property
    def declares_ai(self) -> bool:
        """Whether an action names a trained algorithm."""
        return any("rainedAlgorithmicMedia" in (kind or "") for _, kind in self.actions)


def is_supported(path: PathLike) -> bool:
    """Whether a file with this suffix can hold credentials."""
    return Path(path).suffix.lower() in MEDIA_TYPES


def sign(
    path: PathLike, keys: Keys, *, parent: PathLike, title: str, version: str = "0"
) -> Credentials:
    """Write credentials into a file: into a copy, which replaces the file once it is verified.

    Parameters
    ----------
    path
        A finished file, replaced on success and unchanged on failure.
    keys
    parent
        The source recording. Its name is not written either.
    title
        Name shown by readers: the content number, never a file name, which may be a person's.
    version
        Of heygem.

    Returns
    -------
    Credentials
        As read back.

    Raises
    ------
    OutputError
        Signing failed, or the credentials do not read back as valid.
    """
    import c2pa

    path = Path(path)
    staged = hidden_path(path, f".c2pa{path.suffix}")
    manifest = _manifest(title, MEDIA_TYPES[path.suffix.lower()], version)
    try:
        _write_signed_copy(path, staged, keys, Path(parent), manifest, _signing_settings(path))
        written = read(staged, keys)
        problem = _problem(written)
        if problem is not None and path.stat().st_size > _LARGE_BYTES:
            # In parts, the library hashes some layouts of a file otherwise than it verifies them.
            _write_signed_copy(path, staged, keys, Path(parent), manifest, {})
            written = read(staged, keys)
            problem = _problem(written)
        if written is None or problem is not None:
            raise OutputError(
                "the Content Credentials just written do not read back as valid",
                seen=problem,
                remedy="check the certificate with `heygem keys show`",
            )
        with open(staged, "rb") as f:
            os.fsync(f.fileno())
        os.replace(staged, path)
    except (c2pa.C2paError, OSError) as error:
        if disk.error_number(error, path):
            needed = 2 * path.stat().st_size + _MANIFEST_BYTES  # the file and its signed copy
            what = "the Content Credentials cannot be written"
            raise disk.write_error(error, path, what=what, needed_bytes=needed) from error
        raise OutputError(
            "the Content Credentials cannot be written",
            seen=f"{title}: {error}",
            remedy="check the certificate with `heygem keys show`",
        ) from error
    finally:
        # Failed signing leaves a file behind, empty or complete but invalid.
        staged.unlink(missing_ok=True)
    return written


def read(path: PathLike, keys: Keys | PublicKeys | None = None) -> Credentials | None:
    """The credentials in a file, or None without any.

    Parameters
    ----------
    path
    keys
        Their roots are trusted.
    """
    import c2pa

    path = Path(path)
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        return None
    try:
        with (
            open(path, "rb") as stream,
            _context(c2pa, keys) as context,
            c2pa.Reader(media_type, stream, context=context) as reader,
        ):
            return _credentials(reader)
    except c2pa.C2paError as error:
        if "ManifestNotFound" in type(error).__name__ or "ManifestNotFound" in str(error):
            return None
        return Credentials("Invalid", "", [], [], [str(error)], "")


def _manifest(title: str, media_type: str, version: str) -> dict[str, Any]:
    edited = {
        "action": "c2pa.edited",
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        "softwareAgent": {"name": "heygem", "version": version},
        "description": "mouth movement made to fit another sound",
    }
    return {
        "claim_generator_info": [{"name": "heygem", "version": version}],
        "title": title,
        "format": media_type,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [edited]}}],
    }


def _context(
    c2pa: Any, keys: Keys | PublicKeys | None, *, core: dict[str, int] | None = None
) -> Any:
    settings: dict[str, dict[str, Any]] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}
    }
    if core:
        settings["core"] = dict(core)
    if keys is not None:
        settings["trust"] = {"trust_anchors": keys.anchors_pem}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _signing_settings(path: Path) -> dict[str, int]:
    """How the library signs a large file without two copies of it in memory.

    The media data is hashed in parts (a Merkle tree, C2PA 2.1), and the library writes the signed
    file to the folder of temporary files first, where there is room.
    """
    size = path.stat().st_size
    if size <= _LARGE_BYTES:
        return {}
    settings = {"merkle_tree_chunk_size_in_kb": _PART_KB}
    if shutil.disk_usage(tempfile.gettempdir()).free > 2 * size:
        settings["backing_store_memory_threshold_in_mb"] = _LARGE_BYTES >> 20
    return settings


def _write_signed_copy(
    path: Path,
    staged: Path,
    keys: Keys,
    parent: Path,
    manifest: dict[str, Any],
    core: dict[str, int],
) -> None:
    import c2pa

    with (
        _context(c2pa, keys, core=core) as context,
        c2pa.Signer.from_callback(
            _es256(keys), c2pa.C2paSigningAlg.ES256, keys.chain_pem
        ) as signer,
        c2pa.Builder(manifest, context) as builder,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        _add_parent(builder, parent)
        builder.sign_file(path, staged, signer)


def _problem(written: Credentials | None) -> str | None:
    """What is wrong with credentials of this installation; None if they are valid."""
    if written is None:
        return "none found"
    if written.state != "Trusted" or written.failures or not written.declares_ai:
        return f"{written.state}: {written.failures}"
    return None


def _es256(keys: Keys) -> Callable[[bytes], bytes]:
    """The callback that signs with ECDSA over P-256."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    def sign_bytes(data: bytes) -> bytes:
        # COSE concatenates the two numbers, without DER (RFC 9053 §2.1).
        r, s = decode_dss_signature(keys.c2pa_key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign_bytes


def _add_parent(builder: Any, parent: Path) -> None:
    # A container that cannot hold credentials is added as plain bytes.
    media_type = MEDIA_TYPES.get(parent.suffix.lower(), "application/octet-stream")
    ingredient = {"title": "source recording", "relationship": "parentOf", "format": media_type}
    with open(parent, "rb") as stream:
        builder.add_ingredient(ingredient, media_type, stream)


def _credentials(reader: Any) -> Credentials:
    data = json.loads(reader.json())
    active = data["manifests"][data["active_manifest"]]
    actions = [
        (action["action"], action.get("digitalSourceType"))
        for assertion in active.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    results = (reader.get_validation_results() or {}).get("activeManifest", {})
    # An unknown signer is reported by the state `Valid`: it is no failure of the file.
    failures = [
        f["code"] for f in results.get("failure", []) if f["code"] != "signingCredential.untrusted"
    ]
    info = (active.get("claim_generator_info") or [{}])[0]
    return Credentials(
        state=str(reader.get_validation_state()),
        signer=(active.get("signature_info") or {}).get("issuer", ""),
        actions=actions,
        parents=[bool(i.get("active_manifest")) for i in active.get("ingredients", [])],
        failures=failures,
        generator=f"{info.get('name', '')} {info.get('version', '')}".strip(),
        title=str(active.get("title") or ""),
    )
