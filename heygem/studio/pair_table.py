"""Video-audio pairs, pasted from a spreadsheet or read from a CSV file."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import ipywidgets as w

from heygem.config import pairs
from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.errors import InputError
from heygem.core.i18n import Translate
from heygem.core.leftovers import temporary_folder
from heygem.core.types import PathLike
from heygem.studio.uploader import Uploader

MAX_UPLOAD_KB = 4096
_SUFFIXES = (".csv", ".tsv", ".txt")
EXAMPLE = "video,audio\nsamples/hopper.mp4,samples/speech_en.wav"


class PairTable(w.VBox):
    """A text field for rows `video, audio`, and a place for a CSV file.

    Parameters
    ----------
    params : heygem.config.params.Params
        Its pairs are the initial content of the field.
    translate : callable
    """

    def __init__(self, params: Params, *, translate: Translate) -> None:
        self.rows = w.Textarea(
            value=_recipe_pairs_csv(params), placeholder=EXAMPLE, rows=6,
            layout=w.Layout(width="100%"),
        )  # fmt: skip
        self.upload = Uploader(translate, self._uploaded, kind="table", suffixes=_SUFFIXES)
        self.button = w.Button(
            description=translate("add_rows"), icon="plus", button_style="primary",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.help = w.HTML(translate("table_help"))
        super().__init__(
            [self.help, self.rows, w.HBox([self.upload, self.button])],
            layout=w.Layout(width="100%", max_width="1060px", padding="4px"),
        )

    def read(self) -> list[Pair]:
        """The rows; raises as `parse_pairs` does."""
        return parse_pairs(self.rows.value)

    def _uploaded(self, path: Path) -> None:
        with open(path, "rb") as stream:
            content = stream.read(MAX_UPLOAD_KB << 10)
        self.rows.value = content.decode("utf-8-sig", errors="replace")


def parse_pairs(text: str) -> list[Pair]:
    """Pairs from pasted text; without a row of column names, the columns are video and audio.

    Raises
    ------
    InputError, ParameterError
        There are no rows, or a row is not valid.
    """
    text = text.strip("\r\n ")
    if not text:
        raise InputError("the table is empty", remedy=f"write rows such as {EXAMPLE!r}")
    header = text.splitlines()[0]
    separator = max(",;\t", key=header.count)
    if "video" not in [cell.strip() for cell in header.split(separator)]:
        text = f"video{separator}audio\n{text}"
    with temporary_folder() as folder:
        path = Path(folder) / "table.csv"
        path.write_text(text + "\n", "utf-8")
        return list(pairs.read(path))


def resolve_paths(rows: Iterable[Pair], folder: PathLike) -> list[Pair]:
    """Pairs with absolute paths, all of which exist.

    Parameters
    ----------
    rows : iterable of heygem.config.pairs.Pair
    folder : path
        Folder that relative paths start from.

    Raises
    ------
    InputError
        A file does not exist; the message names its row.
    """
    resolved = []
    for number, pair in enumerate(rows, start=1):
        files = {}
        for column in ("video", "audio"):
            name = getattr(pair, column)
            if name is None:
                continue
            path = (Path(folder) / Path(name).expanduser()).resolve()
            if not path.exists():
                raise InputError(
                    f"pair {number}: no such file", seen=name, remedy=f"check column {column!r}"
                )
            files[column] = str(path)
        resolved.append(pair.model_copy(update=files))
    return resolved


def _recipe_pairs_csv(params: Params) -> str:
    """The pairs of a recipe as CSV; empty without any."""
    recipe_pairs = params.inputs.pairs
    if not recipe_pairs:
        return ""
    if isinstance(recipe_pairs, str):
        recipe_pairs = pairs.read(recipe_pairs)
    rows = [pair.row() for pair in recipe_pairs]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
