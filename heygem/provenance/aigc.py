"""The metadata label: seven text fields under the key `AIGC`, read by machines.

Sources: the labelling Measures (China, in force since 2025-09-01) art. 5 and GB 45438-2025 annex E,
both known from quotations; the guides TC260-PG-20257A (video), 202510A (audio) and 20259A
(pictures) for where each container stores it. The JSON is written flat, as in the video guide's own
example; a reader must also accept the wrapped form `{"AIGC": {...}}` that the annex shows.
"""

import json
import re
from dataclasses import dataclass, fields

from heygem.config.params import LabelSettings
from heygem.core.errors import ParameterError

KEY = "AIGC"
COMMENT = "AI生成 / AI-generated"
_ALLOWED = re.compile(r"[!#-\[\]-~]+")  # annex E: no space, quote or backslash
# 00, subject code (type 11 with an 18-character social credit code), 5 of service extension.
_PROVIDER_CODE = re.compile(r"00(11[0-9A-Z]{18})([12][0-9A-Z]{4}|00000)")
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015: no I, O, S, V, Z
_CREDIT_WEIGHTS = [pow(3, i, 31) for i in range(17)]


@dataclass(frozen=True)
class AigcLabel:
    """The seven fields, in the standard's order and spelling; all text."""

    Label: str  # the content is (1), may be (2) or is suspected to be (3) AI-generated
    ContentProducer: str
    ProduceID: str
    ReservedCode1: str
    ContentPropagator: str
    PropagateID: str
    ReservedCode2: str

    @property
    def signed_bytes(self) -> bytes:
        """The fields that `ReservedCode1` signs: the first three, as they appear in the JSON."""
        signed = {name: getattr(self, name) for name in ("Label", "ContentProducer", "ProduceID")}
        text = json.dumps(signed, ensure_ascii=False, separators=(",", ":"))
        return text[1:-1].encode()

    def to_json(self) -> str:
        """The label as flat JSON without spaces."""
        return json.dumps(
            {f.name: getattr(self, f.name) for f in fields(self)},
            ensure_ascii=False,
            separators=(",", ":"),
        )


def validate_producer(value: str) -> str:
    """The producer, if it is a name of allowed characters or a valid 27-character provider code.

    Raises
    ------
    ParameterError
        Characters outside the standard's, or a provider code with a wrong form or check digit.
    """
    remedy = "give a name without spaces, or the 27-character code of the standard's annex"
    if not _ALLOWED.fullmatch(value or ""):
        raise ParameterError(
            "label.producer has characters outside ! to ~", seen=value, remedy=remedy
        )
    if re.fullmatch(r"(00|11)[0-9A-Z]{18,}|[0-9A-Z]{27}", value):  # resembles a provider code
        match = _PROVIDER_CODE.fullmatch(value)
        if match is None or not _has_valid_check_digit(match[1][2:]):
            raise ParameterError(
                "label.producer looks like a provider's code but is not a valid one",
                seen=value,
                remedy=remedy,
            )
    return value


def _has_valid_check_digit(code: str) -> bool:
    """Whether an 18-character social credit code ends in its check digit (GB 32100-2015)."""
    if any(c not in _CREDIT_ALPHABET for c in code):
        return False
    total = sum(
        w * _CREDIT_ALPHABET.index(c) for w, c in zip(_CREDIT_WEIGHTS, code[:17], strict=True)
    )
    return _CREDIT_ALPHABET[(31 - total % 31) % 31] == code[17]


def aigc_tags(settings: LabelSettings, produce_id: str, *, reserved: str = "") -> dict[str, str]:
    """Container tags that declare a file AI-generated.

    Parameters
    ----------
    settings
        `producer` names the producer.
    produce_id
        Content number: unique to the file, without personal data.
    reserved
        For `ReservedCode1`; see `heygem.provenance.binding.reserve`.

    Returns
    -------
    dict of str to str
        `AIGC` (JSON) and `comment`, for `VideoWriter(label=)`.

    Raises
    ------
    ParameterError
        The producer or the content number is not allowed.
    """
    producer = validate_producer(settings.producer)
    if not _ALLOWED.fullmatch(produce_id):
        raise ParameterError(
            "the content number has characters outside ! to ~",
            seen=produce_id,
            remedy="use letters, digits and hyphens",
        )
    # On first publication the propagator is the producer (annex E, note 1).
    label = AigcLabel("1", producer, produce_id, reserved, producer, produce_id, "")
    return {KEY: label.to_json(), "comment": COMMENT}


def parse_label(text: str) -> tuple[AigcLabel | None, list[str]]:
    """Parse the text of an `AIGC` tag.

    Returns
    -------
    label : AigcLabel or None
        None if the text is not a JSON object.
    problems : list of str
        Where the label departs from the standard.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        return None, [f"not JSON: {error}"]
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
        elif not _ALLOWED.fullmatch(values[n]):
            # The annex restricts characters only "mainly", and Chinese names occur in practice.
            problems.append(f"characters outside ! to ~ in {n}")
    return AigcLabel(**values), problems
