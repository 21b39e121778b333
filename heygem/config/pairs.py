"""A table of pairs: one row for each video, with the person and the speech.

Written in a recipe under `inputs.pairs`, or kept beside it as CSV (as a spreadsheet saves it) or
YAML. Columns are `video`, `audio` or `text`, `name`, and any setting of a recipe under its dotted
key, as in `lips.openness_gain`; an empty cell means what the recipe says.
"""

import csv
import difflib
import io
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_serializer

from heygem.config import recipes
from heygem.config.renamed import with_current_names
from heygem.core.errors import InputError, ParameterError
from heygem.core.files import require_regular_file
from heygem.core.types import PathLike

COLUMNS = ("video", "audio", "text", "name")
MAX_BYTES = 4 << 20
MAX_ROWS = 10_000
MAX_TEXT, MAX_CELL = 20_000, 4_096  # letters of a text to speak, and of any other cell
#: Sections of a recipe that a row may change, and what of them all rows share.
ROW_SECTIONS = ("inputs", "lips", "renderer", "face", "media", "audio", "label")
_ROW_INPUTS = ("inputs.language", "inputs.voice")
SHARED_SETTINGS = ("lips.model", "face.backend")  # loaded once for the batch


class Pair(BaseModel):
    """One row: a person, speech (a sound file or a text), and settings of its own.

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
        """As a row of a recipe; empty columns are left out."""
        plain = {key: getattr(self, key) for key in COLUMNS}
        return {key: value for key, value in plain.items() if value is not None} | self.changes


def check(rows: Any, *, first: int = 1, place: str = "") -> tuple[Pair, ...]:
    """Pairs out of a list of mappings from column to value.

    Parameters
    ----------
    rows : list of dict or Pair
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
    pairs: list[Pair] = []
    numbers: dict[str, int] = {}  # of the row that has a name
    for number, row in enumerate(rows, start=first):
        pair = row if isinstance(row, Pair) else _pair(row, f"{place}row {number}")
        if pair is None:
            continue
        if pair.name is not None and pair.name.casefold() in numbers:
            raise ParameterError(
                f"{place}row {number}, column 'name': row {numbers[pair.name.casefold()]} has "
                "the "
                "same name",
                seen=pair.name,
                remedy="name each result differently, or leave the cell empty",
            )
        if pair.name is not None:
            numbers[pair.name.casefold()] = number
        pairs.append(pair)
    return tuple(pairs)


def _pair(row: dict[Any, Any], where: str) -> Pair | None:
    """The pair of a row; None for a blank row."""
    cells = {str(key).strip(): value for key, value in row.items() if key is not None}
    if None in row:
        raise ParameterError(
            f"{where} has more cells than there are columns",
            seen=row[None],
            remedy="put cells that hold commas into double quotes",
        )
    cells = {key: value for key, value in cells.items() if not _is_blank(value)}
    if not cells:
        return None
    columns = {key: str(cells.pop(key)).strip() for key in COLUMNS if key in cells}
    for key, cell in [*columns.items(), *cells.items()]:
        _require_short(key, cell, where)
    cells = with_current_names(cells, place=where)
    for key in cells:
        _require_row_setting(key, where)
    if "video" not in columns:
        raise ParameterError(
            f"{where}, column 'video': it is empty", remedy="say which video or portrait"
        )
    if "audio" in columns and "text" in columns:
        raise ParameterError(
            f"{where}, column 'text': 'audio' is given too", remedy="give one of them"
        )
    return Pair(**columns, changes=cells, where=where)


def _require_short(key: str, cell: object, where: str) -> None:
    """Refuse what is no path, name, number or text; the cause is often a quote left open."""
    limit = MAX_TEXT if key == "text" else MAX_CELL
    length = len(cell) if isinstance(cell, str) else 0
    if length > limit:
        raise ParameterError(
            f"{where}, column {key!r}: the cell is too long",
            seen=f"{length} letters, beginning {str(cell)[:30]!r}",
            remedy=f"at most {limit}; in a CSV file, look for a double quote that is not closed",
        )


def _is_blank(value: object) -> bool:
    return value is None or not str(value).strip()


def _require_row_setting(key: str, where: str) -> None:
    """Refuse a column that is no setting which may differ from row to row."""
    section = key.partition(".")[0]
    fits = "." in key and section in ROW_SECTIONS and key not in SHARED_SETTINGS
    if fits and (section != "inputs" or key in _ROW_INPUTS):
        return
    if "." in key or key in ("engine", "checkpoint", "device"):
        remedy = "all rows share it: set it in the recipe"
    else:
        similar = difflib.get_close_matches(
            key.casefold(), [*COLUMNS, *_ROW_INPUTS], n=1, cutoff=0.5
        )
        listed = ", ".join(COLUMNS)
        remedy = (
            f"did you mean {similar[0]!r}?"
            if similar
            else f"use {listed}, or keys as lips.offset_ms"
        )
    raise ParameterError(f"{where}: no column {key!r} is known", remedy=remedy)


def read(path: PathLike) -> tuple[Pair, ...]:
    """The pairs of a CSV or YAML file.

    A CSV has its columns' names in the first row and is UTF-8; comma, semicolon or tab stand
    between cells. Rows are counted as a spreadsheet does, the names being row 1.

    Raises
    ------
    InputError
        The file cannot be read.
    ParameterError
        A cell does not fit; names row and column.
    """
    path = Path(path)
    place = f"{path.name}, "
    if path.suffix.lower() in (".yaml", ".yml"):
        tree = recipes.load(path)
        rows = tree.get("pairs") if isinstance(tree, dict) else tree
        return _at_least_one(check(rows or [], place=place), path)
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
    return _at_least_one(check(pairs, first=2, place=place), path)


def _at_least_one(pairs: tuple[Pair, ...], path: Path) -> tuple[Pair, ...]:
    if not pairs:
        raise ParameterError(f"{path.name} holds no pairs", remedy="write one pair a row")
    return pairs


def _value(key: str | None, text: Any) -> Any:
    if key is None or key in COLUMNS or not (text or "").strip():
        return text
    try:
        return recipes.parse(text, key)
    except ParameterError:
        return text


def _csv(path: Path) -> tuple[list[dict[str | None, Any]], list[str]]:
    """Rows by column, and the names of the columns, of a CSV file."""
    try:
        require_regular_file(path)
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        what = "no such table" if isinstance(error, FileNotFoundError) else "cannot read the table"
        raise InputError(what, seen=path, remedy="check its path") from error
    if len(data) > MAX_BYTES:
        raise InputError("the table is too large", seen=path, remedy="at most 4 MiB")
    text = recipes.decoded(data, path.name)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, number = [], 1
    try:
        for row in reader:
            number += 1
            rows.append(row)
    except csv.Error as error:
        is_open_quote = "field larger" in str(error) or "unexpected end" in str(error)
        raise ParameterError(
            f"{path.name}, row {number + 1}: {'a cell does not end' if is_open_quote else error}",
            remedy="close the double quote that begins it; double a quote within a cell"
            if is_open_quote
            else "in the spreadsheet, save it as CSV UTF-8",
        ) from error
    names = [name.strip() for name in reader.fieldnames or []]
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise ParameterError(f"{path.name}: the column {repeated!r} is there twice")
    return [{(k if k is None else k.strip()): v for k, v in row.items()} for row in rows], names
