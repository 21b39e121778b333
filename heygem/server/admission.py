"""Admission to the queue of an installation that serves several users.

It is checked twice. Before a job is written: agreement, settings, sizes, consent, and the daily
quota; what passes is named, by a digest of owner, inputs' contents and settings, in a signed row of
the ledger. When a worker takes the job: the digest is computed again from the job and from the
files as they are then, and must stand in such a row. A job that was written into the database by
hand, changed there, or whose inputs were exchanged has none, and fails.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from heygem.batch.items import Item
from heygem.config.params import Params
from heygem.core.errors import PolicyError
from heygem.core.files import hash_input, safe_name
from heygem.core.types import PathLike
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Entry, Ledger, Verifier, acting_as
from heygem.provenance.ledger.rows import canonical_json, hash_fields
from heygem.server import quota
from heygem.server.policy import Rules

_LETTERS_PER_S, _IDEOGRAPHS_PER_S = 15.0, 4.0  # of a text read aloud, about
# What differs from job to job; every other setting is the installation's or checked by name.
_OF_ONE_JOB = ("inputs.audio", "inputs.text", "inputs.videos", "inputs.pairs", "inputs.output")
_MLFLOW = "mlflow.folder"


class Admission:
    """The checks of one installation.

    Parameters
    ----------
    rules : heygem.server.policy.Rules
    results : path
        Folder of the results; each user has one in it, see `user_folder`.
    """

    def __init__(self, rules: Rules, *, results: PathLike) -> None:
        self.rules = rules
        self.results = Path(results).resolve()

    def admit(self, items: Sequence[Item], lengths_s: Sequence[float], owner: str) -> str:
        """Check what a user asks for and count it against the quota: all of it, or nothing.

        An admission of `heygem.batch.queue.JobQueue`; its lengths are replaced by this one's.

        Raises
        ------
        PolicyError, ConsentError, InputError
            A refusal by the quota, and one for lack of consent, are recorded.
        """
        ledger = Ledger(keys=keys.ensure())  # anew: the keys may be replaced while a server runs
        digests, seconds = [], 0.0
        with acting_as(owner):
            self.rules.require_agreement(ledger, owner)
            for item in items:
                self._check_settings(item.params)
                self._check_output(owner, item)
                seconds += self._check_inputs(item)
                video, audio = hashes = _hashes(item)
                consent.require(ledger, video, audio, basis=item.params.label.consent)
                digests.append(digest(owner, item, *hashes))
            limits, minutes = self.rules.policy.quota, seconds / 60
            quota.admit(ledger, owner, limits, videos=len(items), minutes=minutes, items=digests)
        return owner

    def require_admitted(self, owner: str, item: Item) -> None:
        """Refuse a job that was not admitted as it is now; called by a worker that takes it.

        Raises
        ------
        PolicyError
            No signed row of the ledger names it, or the limits have been lowered since.
        InputError
            Its files cannot be read.
        """
        self._check_output(owner, item)
        item_digest, signer = digest(owner, item, *_hashes(item)), keys.ensure()
        rows = Ledger(keys=signer).entries(kind="admitted", subject=owner)
        naming = [row for row in rows if item_digest in row.body.get("items", ())]
        if not signed(naming, signer):
            raise PolicyError(
                "this job was not admitted to the queue, or it was changed since",
                seen=f"{owner}: {item.name}",
                remedy="submit it again, through the studio",
            )
        self._check_inputs(item)

    def _check_settings(self, params: Params) -> None:
        """Refuse settings that differ from the installation's and are not a user's to change."""
        default = self.rules.recipe.dotted()
        changes = {key: value for key, value in params.dotted().items() if value != default[key]}
        self.rules.check_settings({k: v for k, v in changes.items() if k not in _OF_ONE_JOB})

    def _check_output(self, owner: str, item: Item) -> None:
        own = self.results / user_folder(owner)
        places = (item.params.inputs.output, item.output, item.details)
        inside = all(Path(place).resolve().is_relative_to(own) for place in places)
        if item.params.inputs.overwrite or not inside:
            raise PolicyError(
                "a result goes to its owner's folder, and replaces nothing",
                seen=f"{owner}: {item.output}",
                remedy="submit it through the studio",
            )

    def _check_inputs(self, item: Item) -> float:
        """Check both files against the limits; returns the length of the speech [s]."""
        self.rules.check_media(item.video)
        inputs = item.params.inputs
        if inputs.audio is not None:
            seconds = self.rules.check_media(inputs.audio).duration_s or 0.0
        else:
            seconds = speech_seconds(inputs.text or "")
        self.rules.check_speech(seconds)
        return seconds


def digest(owner: str, item: Item, video: str, audio: str) -> str:
    """sha256 [hex] of what is made for whom: contents of the inputs, text, name and settings.

    Parameters
    ----------
    owner, item
    video, audio : str
        sha256 of the files; `audio` is empty where a text is spoken.
    """
    settings = item.params.dotted()
    settings[_MLFLOW] = str(Path(settings[_MLFLOW]).absolute())  # as the queue stores it
    facts: dict[str, Any] = {
        "owner": owner,
        "video": video,
        "audio": audio,
        "text": item.params.inputs.text or "",
        "name": item.name,
        "file": item.output.name,
        "settings": {key: value for key, value in settings.items() if key not in _OF_ONE_JOB},
    }
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def speech_seconds(text: str) -> float:
    """How long a text takes to read aloud [s], about; Chinese has fewer characters a second."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return wide / _IDEOGRAPHS_PER_S + (len(text) - wide) / _LETTERS_PER_S


def user_folder(owner: str) -> str:
    """Name of a user's folder: no two users have the same, and none leads elsewhere."""
    if re.fullmatch(r"[a-z0-9][a-z0-9_.]{0,31}", owner):
        return owner
    return f"{safe_name(owner)}-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"


def _hashes(item: Item) -> tuple[str, str]:
    """sha256 of video and sound as they are now."""
    audio = item.params.inputs.audio
    return hash_input(item.video), hash_input(audio) if audio is not None else ""


def signed(entries: Iterable[Entry], verifier: Verifier) -> list[Entry]:
    """The rows that this installation's key signed as they are."""

    def is_signed(entry: Entry) -> bool:
        body = canonical_json(entry.body)
        head = (entry.number, entry.time_utc, entry.kind, entry.subject, entry.watermark_id)
        if hash_fields(*head, body, entry.previous) != entry.hash:
            return False
        return verifier.verify(bytes.fromhex(entry.hash), entry.signature) is True

    return [entry for entry in entries if is_signed(entry)]
