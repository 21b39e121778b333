"""The metadata label: seven text fields under the key `AIGC`, read by machines.

Sources: the labelling Measures (China, in force since 2025-09-01) art. 5 and GB 45438-2025 annex E,
both read in quotations; the guides TC260-PG-20257A (video), 202510A (audio) and 20259A (pictures)
for where each container keeps it. The JSON is flat, as in the video guide's own example; a reader
must also take the wrapped form `{"AIGC": {...}}` that the annex shows.
"""

import json
import re
from dataclasses import dataclass, fields

from heygem.core.errors import ParameterError

KEY = "AIGC"
COMMENT = "AI生成 / AI-generated"
_PLAIN = re.compile(r"[!#-\[\]-~]+")  # annex E: no space, quote or backslash
# 00, subject code (type 11 with an 18-character social credit code), 5 of service extension.
_CODE = re.compile(r"00(11[0-9A-Z]{18})([12][0-9A-Z]{4}|00000)")
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015: no I, O, S, V, Z
_CREDIT_WEIGHTS = [pow(3, i, 31) for i in range(17)]


@dataclass(frozen=True)
class AigcLabel:
    """The seven fields, in the standard's order and spelling; all text."""

    Label: str  # 1 is, 2 may be, 3 is suspected to be generated
    ContentProducer: str
    ProduceID: str
    ReservedCode1: str
    ContentPropagator: str
    PropagateID: str
    ReservedCode2: str

    @property
    def signed_part(self):
        """What `ReservedCode1` signs, bytes: the first three fields as they stand in the JSON."""
        three = {k: getattr(self, k) for k in ("Label", "ContentProducer", "ProduceID")}
        text = json.dumps(three, ensure_ascii=False, separators=(",", ":"))
        return text[1:-1].encode()

    def to_json(self):
        return json.dumps(
            {f.name: getattr(self, f.name) for f in fields(self)},
            ensure_ascii=False,
            separators=(",", ":"),
        )


def check_producer(value):
    """The configured producer: a plain name, or a 27-character code whose check digit holds.

    Raises
    ------
    ParameterError
        Characters outside the standard's, or something that looks like a code and is not one.
    """
    remedy = "give a name without spaces, or the 27-character code of the standard's annex"
    if not _PLAIN.fullmatch(value or ""):
        raise ParameterError("label.producer has characters outside ! to ~", seen=value,
                             remedy=remedy)  # fmt: skip
    looks_like_code = re.fullmatch(r"(00|11)[0-9A-Z]{18,}|[0-9A-Z]{27}", value)
    if looks_like_code:
        match = _CODE.fullmatch(value)
        if match is None or not _credit_code_holds(match[1][2:]):
            raise ParameterError("label.producer looks like a provider's code but is not a "
                                 "valid one", seen=value, remedy=remedy)  # fmt: skip
    return value


def _credit_code_holds(code):
    if any(c not in _CREDIT_ALPHABET for c in code):
        return False
    total = sum(
        w * _CREDIT_ALPHABET.index(c) for w, c in zip(_CREDIT_WEIGHTS, code[:17], strict=True)
    )
    return _CREDIT_ALPHABET[(31 - total % 31) % 31] == code[17]


def aigc_tags(settings, produce_id, *, keys=None):
    """Container tags that say the file is AI-made.

    Parameters
    ----------
    settings : LabelParams
        `producer` names who made it.
    produce_id : str
        The number of this piece of content: one a file, no personal data.
    keys : heygem.provenance.keys.Keys, optional
        Signs the first three fields into `ReservedCode1`; empty without.

    Returns
    -------
    dict of str to str
        `AIGC` (JSON) and `comment`, for `VideoWriter(metadata=)`.
    """
    producer = check_producer(settings.producer)
    if not _PLAIN.fullmatch(produce_id):
        raise ParameterError(
            "the content number has characters outside ! to ~",
            seen=produce_id,
            remedy="use letters, digits and hyphens",
        )
    # At the first writing the propagator is the producer (annex E, note 1).
    label = AigcLabel("1", producer, produce_id, "", producer, produce_id, "")
    if keys is not None:
        signature = keys.sign(label.signed_part)
        label = AigcLabel("1", producer, produce_id, signature, producer, produce_id, "")
    return {KEY: label.to_json(), "comment": COMMENT}


def parse(text):
    """The label in a tag's text.

    Returns
    -------
    (AigcLabel or None, list of str)
        None where it cannot be read at all; the list says what departs from the standard.
    """
    try:
        data = json.loads(text)
    except ValueError as e:
        return None, [f"not JSON: {e}"]
    if isinstance(data, dict) and isinstance(data.get(KEY), dict):
        data = data[KEY]
    if not isinstance(data, dict):
        return None, ["not a JSON object"]
    names = [f.name for f in fields(AigcLabel)]
    problems = [f"field missing: {n}" for n in names if n not in data]
    problems += [f"field unknown: {n}" for n in data if n not in names]
    problems += [f"not text: {n}" for n in names if n in data and not isinstance(data[n], str)]
    values = {n: data[n] if isinstance(data.get(n), str) else "" for n in names}
    if values["Label"] not in ("1", "2", "3"):
        problems.append(f"Label is {values['Label']!r}, not 1, 2 or 3")
    for n in ("ContentProducer", "ProduceID"):
        if not values[n]:
            problems.append(f"field empty: {n}")
        elif not _PLAIN.fullmatch(values[n]):
            # The annex says "mainly": a finding, and Chinese names are met in the wild.
            problems.append(f"characters outside ! to ~ in {n}")
    return AigcLabel(**values), problems
