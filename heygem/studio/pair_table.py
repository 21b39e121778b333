"""Rows of who says what, pasted from a spreadsheet or taken from a file."""

import csv
import io
import tempfile
from pathlib import Path

import ipywidgets as w

from heygem.config import pairs
from heygem.core.errors import InputError

UPLOAD_KB = 4096
EXAMPLE = "video,audio\nsamples/hopper.mp4,samples/speech_en.wav"


class PairTable(w.VBox):
    """A field for rows `video, audio`, and a way to bring a CSV file into it.

    Parameters
    ----------
    params : heygem.config.params.Params
        Pairs named in it stand in the field from the start.
    say : callable
    """

    def __init__(self, params, *, say):
        self._say = say
        self.rows = w.Textarea(
            value=_named(params), placeholder=EXAMPLE, rows=6, layout=w.Layout(width="100%")
        )
        self.upload = w.FileUpload(
            accept=".csv,.tsv,.txt", description=say("table_file"), layout=w.Layout(width="auto")
        )
        self.button = w.Button(
            description=say("add_rows"), icon="plus", button_style="primary",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.said = w.HTML(say("table_help"))
        self.upload.observe(self._uploaded, "value")
        super().__init__(
            [self.said, self.rows, w.HBox([self.upload, self.button])],
            layout=w.Layout(width="100%", max_width="1060px", padding="4px"),
        )

    def read(self):
        """The rows as a list of heygem.config.pairs.Pair; raises what `heygem.config.pairs.read` raises."""
        return parse(self.rows.value)

    def _uploaded(self, change):
        if change["new"]:
            content = bytes(change["new"][0]["content"])[: UPLOAD_KB << 10]
            self.rows.value = content.decode("utf-8-sig", errors="replace")
            self.upload.value = ()


def parse(text):
    """Pairs out of pasted text; without a line of column names, they are video and audio.

    Raises
    ------
    InputError, ParameterError
        There are no rows, or one of them does not fit.
    """
    text = text.strip("\r\n ")
    if not text:
        raise InputError("the table is empty", remedy=f"write rows such as {EXAMPLE!r}")
    head = text.splitlines()[0]
    mark = max(",;\t", key=head.count)
    if "video" not in [cell.strip() for cell in head.split(mark)]:
        text = f"video{mark}audio\n{text}"
    with tempfile.TemporaryDirectory(prefix="heygem-") as folder:
        path = Path(folder) / "table.csv"
        path.write_text(text + "\n", "utf-8")
        return pairs.read(path)


def existing(rows, folder):
    """Pairs with whole paths, none of which leads nowhere.

    Parameters
    ----------
    rows : list of heygem.config.pairs.Pair
    folder : path
        What they are relative to.

    Raises
    ------
    InputError
        A file is not there; its row is named.
    """
    found = []
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
        found.append(pair.model_copy(update=files))
    return found


def _named(params):
    """The pairs of a recipe as text; empty where it names none."""
    named = params.inputs.pairs
    if not named:
        return ""
    if isinstance(named, str):
        named = pairs.read(named)
    rows = [pair.row() for pair in named]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
