"""Content Credentials (C2PA): a signed account of how the file came to be, bound to every byte.

It is written last, since any later change of the file breaks it, and so it seals the metadata
label too. The account says what is so: a recording was opened and edited, and the result is a
composite with media made by a trained algorithm; the input's own credentials, where it has any,
stay inside as the parent's. Nothing is fetched: no time-stamping service, no remote manifests.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from heygem.core.errors import OutputError

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
# Container -> media type. Matroska cannot carry credentials.
TYPES = {
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


@dataclass(frozen=True)
class Credentials:
    """What a file's credentials say.

    `state` is `Trusted` (signed under a root this installation trusts), `Valid` (whole, signed by
    somebody else) or `Invalid`; `actions` are (name, digital source type) pairs; `parents` one
    entry for each recording it was made from, true where that one's own credentials are kept
    inside; `failures` the checks that did not pass, in the standard's codes.
    """

    state: str
    signer: str
    actions: list
    parents: list
    failures: list
    generator: str

    @property
    def says_ai(self):
        """Whether an action names a trained algorithm."""
        return any("rainedAlgorithmicMedia" in (kind or "") for _, kind in self.actions)


def can_carry(path):
    """Whether the container of this name takes credentials."""
    return Path(path).suffix.lower() in TYPES


def sign(path, keys, *, parent, title=None, version="0"):
    """Write credentials into a file: to a copy, checked, which then takes the file's place.

    Parameters
    ----------
    path : path-like
        A finished file, replaced on success and untouched on failure.
    keys : heygem.provenance.keys.Keys
    parent : path-like
        The recording the file was made from. Its name stays out: names of people do not belong
        into what is published.
    title : str, optional
        Name shown by readers; the file's own by default.
    version : str
        Of this kit.

    Returns
    -------
    Credentials
        As read back.

    Raises
    ------
    OutputError
        Signing failed, or what was written does not read back as valid.
    """
    import c2pa

    path = Path(path)
    work = path.with_name(f".{path.stem[:40]}-{os.getpid()}.c2pa{path.suffix}")
    manifest = {
        "claim_generator_info": [{"name": "heygem", "version": version}],
        "title": title or path.name,
        "format": TYPES[path.suffix.lower()],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.edited",
                            "digitalSourceType": SOURCE_TYPE,
                            "softwareAgent": {"name": "heygem", "version": version},
                            "description": "mouth movement made to fit another sound",
                        }
                    ]
                },
            }
        ],
    }
    try:
        with (
            _context(c2pa, keys) as context,
            c2pa.Signer.from_callback(
                _es256(keys), c2pa.C2paSigningAlg.ES256, keys.chain_pem
            ) as signer,
            c2pa.Builder(manifest, context) as builder,
        ):
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            _add_parent(builder, Path(parent))
            builder.sign_file(path, work, signer)
        found = read(work, keys)
        if found is None or found.state != "Trusted" or found.failures or not found.says_ai:
            raise OutputError(
                "the Content Credentials just written do not read back as valid",
                seen=found and f"{found.state}: {found.failures}",
                remedy="check the certificate with `heygem keys show`",
            )
        with open(work, "rb") as f:
            os.fsync(f.fileno())
        os.replace(work, path)
    except (c2pa.C2paError, OSError) as e:
        raise OutputError(
            "the Content Credentials cannot be written",
            seen=f"{path.name}: {e}",
            remedy="check free disk space and `heygem keys show`, or set label.c2pa: false",
        ) from e
    finally:
        # A failed signing leaves a file behind, empty or whole but invalid.
        work.unlink(missing_ok=True)
    return found


def read(path, keys=None):
    """The credentials in a file, or None where there are none.

    Parameters
    ----------
    path : path-like
    keys : heygem.provenance.keys.Keys, optional
        Whose roots are trusted.
    """
    import c2pa

    path = Path(path)
    kind = TYPES.get(path.suffix.lower())
    if kind is None:
        return None
    try:
        with (
            open(path, "rb") as stream,
            _context(c2pa, keys) as context,
            c2pa.Reader(kind, stream, context=context) as reader,
        ):
            return _credentials(reader)
    except c2pa.C2paError as e:
        if "ManifestNotFound" in type(e).__name__ or "ManifestNotFound" in str(e):
            return None
        return Credentials("Invalid", "", [], [], [str(e)], "")


def _context(c2pa, keys):
    settings = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if keys is not None:
        settings["trust"] = {"trust_anchors": keys.anchors_pem}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _es256(keys):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    def sign_bytes(data):
        # COSE wants the two numbers side by side, not in DER (RFC 9053 §2.1).
        r, s = decode_dss_signature(keys.c2pa_key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign_bytes


def _add_parent(builder, parent):
    kind = TYPES.get(parent.suffix.lower())
    about = {"title": "source recording", "relationship": "parentOf"}
    if kind is None:  # a container that carries no credentials has none to keep
        kind = "application/octet-stream"
    about["format"] = kind
    with open(parent, "rb") as stream:
        builder.add_ingredient(about, kind, stream)


def _credentials(reader):
    data = json.loads(reader.json())
    active = data["manifests"][data["active_manifest"]]
    actions = [
        (action["action"], action.get("digitalSourceType"))
        for assertion in active.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    results = (reader.get_validation_results() or {}).get("activeManifest", {})
    # An unknown signer is what `Valid` instead of `Trusted` says: no failure of the file.
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
    )
