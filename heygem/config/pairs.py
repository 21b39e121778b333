"""A table of pairs: which person says what, row by row.

Written in a recipe under `inputs.pairs`, or kept beside it as CSV (as a spreadsheet saves it) or
YAML. Columns are `video`, `audio` or `text`, `name`, and any setting of a recipe under its dotted
key, as in `lips.openness_gain`; an empty cell means what the recipe says.
"""

import csv
import difflib
import io
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_serializer

from heygem.config import recipes
from heygem.config.renamed import with_current_names
from heygem.core.errors import InputError, ParameterError

COLUMNS = ("video", "audio", "text", "name")
MAX_BYTES = 4 << 20
MAX_ROWS = 10_000
#: Sections of a recipe that a row may change, and what of them all rows share.
ROW_SECTIONS = ("inputs", "lips", "renderer", "face", "media", "audio", "label")
_ROW_INPUTS = ("inputs.language", "inputs.voice")
_SHARED = ("lips.model", "face.backend")  # loaded once for the batch


class Pair(BaseModel):
    """One row: a person, a sound (or a text to be spoken), and what is set otherwise for it.

    Attributes
    ----------
    changes : dict
        Settings under dotted keys.
    where : str
        Table and row, for messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: str = Field(min_length=1)
    audio: str | None = None
    text: str | None = Field(None, max_length=20_000)
    name: str | None = None
    changes: dict[str, Any] = Field(default_factory=dict)
    where: str = Field("", repr=False)

    @model_serializer
    def row(self) -> dict[str, Any]:
        """As it is written in a recipe: what is not given is left out."""
        plain = {key: getattr(self, key) for key in COLUMNS}
        return {key: value for key, value in plain.items() if value is not None} | self.changes


def check(rows, *, first: int = 1, place: str = "") -> tuple[Pair, ...]:
    """Pairs out of mappings from column to value.

    Parameters
    ----------
    rows : list of dict
        A value of None or blanks is an empty cell.
    first : int
        Number of the first row, for messages.
    place : str
        Where the table is, for messages.

    Raises
    ------
    ParameterError
        Names row and column.
    """
    if not isinstance(rows, list | tuple) or not all(isinstance(row, dict | Pair) for row in rows):
        raise ParameterError(
            f"{place}the pairs are not a list of rows",
            seen=str(rows)[:60],
            remedy="write one row a pair: {video: anna.mp4, audio: hello.wav}",
        )
    if len(rows) > MAX_ROWS:
        raise ParameterError(f"{place}too many pairs", seen=len(rows), remedy=f"at most {MAX_ROWS}")
    pairs, named = [], {}
    for number, row in enumerate(rows, start=first):
        pair = row if isinstance(row, Pair) else _pair(row, f"{place}row {number}")
        if pair is None:
            continue
        if pair.name is not None and pair.name.casefold() in named:
            raise ParameterError(
                f"{place}row {number}, column 'name': row {named[pair.name.casefold()]} has the "
                "same name",
                seen=pair.name,
                remedy="name each result differently, or leave the cell empty",
            )
        if pair.name is not None:
            named[pair.name.casefold()] = number
        pairs.append(pair)
    return tuple(pairs)


def _pair(row, where):
    """One row; None for a blank one."""
    cells = {str(key).strip(): value for key, value in row.items() if key is not None}
    if None in row:
        raise ParameterError(
            f"{where} has more cells than there are columns",
            seen=row[None],
            remedy="put cells that hold commas into double quotes",
        )
    cells = {
        key: value for key, value in cells.items() if str("" if value is None else value).strip()
    }
    if not cells:
        return None
    known = {key: str(cells.pop(key)).strip() for key in COLUMNS if key in cells}
    cells = with_current_names(cells, place=where)
    for key in cells:
        _may_change(key, where)
    if "video" not in known:
        raise ParameterError(
            f"{where}, column 'video': it is empty", remedy="say which video or portrait"
        )
    if "audio" in known and "text" in known:
        raise ParameterError(
            f"{where}, column 'text': 'audio' is given too", remedy="give one of them"
        )
    if len(known.get("text", "")) > 20_000:
        raise ParameterError(f"{where}, column 'text': too long", remedy="at most 20000 letters")
    return Pair(**known, changes=cells, where=where)


def _blank(value):
    return value is None or not str(value).strip()


def _may_change(key, where):
    section = key.partition(".")[0]
    fits = "." in key and section in ROW_SECTIONS and key not in _SHARED
    if fits and (section != "inputs" or key in _ROW_INPUTS):
        return
    if "." in key or key in ("engine", "checkpoint", "device"):
        remedy = "all rows share it: set it in the recipe"
    else:
        near = difflib.get_close_matches(key.casefold(), [*COLUMNS, *_ROW_INPUTS], n=1, cutoff=0.5)
        listed = ", ".join(COLUMNS)
        remedy = (
            f"did you mean {near[0]!r}?" if near else f"use {listed}, or keys as lips.offset_ms"
        )
    raise ParameterError(f"{where}: no column {key!r} is known", remedy=remedy)


def read(path) -> tuple[Pair, ...]:
    """The pairs of a CSV or YAML file.

    A CSV has its columns' names in the first row and is UTF-8; comma, semicolon or tab stand
    between cells. Rows are counted as a spreadsheet does, the names being row 1.

    Raises
    ------
    InputError
        The file cannot be read.
    ParameterError
        What it says does not fit; row and column are named.
    """
    path = Path(path)
    place = f"{path.name}, "
    if path.suffix.lower() in (".yaml", ".yml"):
        tree = recipes.load(path)
        rows = tree.get("pairs") if isinstance(tree, dict) else tree
        return _some(check(rows or [], place=place), path)
    rows, names = _csv(path)
    pairs = []
    for row in rows:
        # As everywhere a setting is written as text: 1.2 is a number, true a switch.
        pairs.append({key: _value(key, text) for key, text in row.items()})
    if "video" not in names:
        raise ParameterError(
            f"{path.name} has no column 'video'",
            seen=", ".join(names)[:80],
            remedy="name the columns in the first row: video,audio",
        )
    return _some(check(pairs, first=2, place=place), path)


def _some(pairs, path):
    if not pairs:
        raise ParameterError(f"{path.name} holds no pairs", remedy="write one pair a row")
    return pairs


def _value(key, text):
    if key is None or key in COLUMNS or not (text or "").strip():
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _csv(path):
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        what = "no such table" if isinstance(error, FileNotFoundError) else "cannot read the table"
        raise InputError(what, seen=path, remedy="check its path") from error
    if len(data) > MAX_BYTES:
        raise InputError("the table is too large", seen=path, remedy="at most 4 MiB")
    try:
        text = data.decode("utf-8-sig")
        head = text.partition("\n")[0]
        mark = max(",;\t", key=head.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(
            f"{path.name} is not a table in UTF-8 ({error})",
            remedy="in the spreadsheet, save it as CSV UTF-8",
        ) from error
    names = [name.strip() for name in reader.fieldnames or []]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ParameterError(f"{path.name}: the column {twice!r} is there twice")
    tidy = [{(k if k is None else k.strip()): v for k, v in row.items()} for row in rows]
    return tidy, names
