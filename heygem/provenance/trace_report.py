"""The trace report: what was found in a file and where it comes from, fit to be sent.

The same content as Markdown, for whoever works on it, and as PDF, for whoever receives it. File
names and findings come from outside: neither form lets them be anything but text.
"""

import datetime
import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from heygem import media
from heygem.core.errors import HeygemError, OutputError
from heygem.provenance import trace
from heygem.provenance.ledger import file_hash

FRAME_PX = 480  # width of the picture in the PDF
_FONTS = Path("fonts/NotoSansCJKsc-Bold-subset.otf")


@dataclass(frozen=True)
class Part:
    """A piece of the report: `heading`, `text`, `list`, `table`, `code` or `picture`.

    `content` is a str, a list of str, or a list of rows (of which the first is the head).
    """

    kind: str
    content: object


def parts(read, origin, ledger, run=None):
    """The report's pieces in order.

    Parameters
    ----------
    read : heygem.provenance.verify.LabelReading
    origin : heygem.provenance.trace.Origin or None
    ledger : heygem.provenance.ledger.Ledger
        Checked as a whole: evidence from a record that does not hold is worth nothing.

    Returns
    -------
    list of Part
    """
    faults = ledger.verify()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    holds = "every row holds" if not faults else f"{len(faults)} faults, see the end"
    told = [
        Part("title", f"Trace report: {read.path.name}"),
        Part("list", [
            f"Written: {now}",
            f"File examined, sha256: {file_hash(read.path)}",
            f"Labels as a whole: {read.verdict}",
            f"Ledger: {holds}",
        ]),
        Part("picture", read.path),
        Part("heading", "Labels"),
        Part("table", [
            ["Layer", "Verdict", "Findings"],
            *[[name, layer.verdict, "; ".join(layer.findings)]
              for name, layer in read.layers.items()],
        ]),
        Part("heading", "Origin"),
    ]  # fmt: skip
    if origin is None:
        told.append(
            Part(
                "text",
                "Not made by this installation, as far as it can tell: neither the file's hash nor "
                "its metadata, nor an invisible mark, nor its looks and sound lead to a recorded "
                "run.",
            )
        )
    else:
        told += _of(origin, run)
    if faults:
        told.append(Part("heading", "Faults of the ledger"))
        told.append(Part("list", [f"Row {fault.number} {fault.what}" for fault in faults]))
    told.append(
        Part(
            "text",
            "This report states what was found in the file and in the records of one installation. "
            "It is not a legal assessment.",
        )
    )
    return told


def _of(origin, run):
    entry, body = origin.entry, origin.entry.body
    sure = "Made" if origin.proven else "Probably made"
    evidence = [trace.HOW[clue] for clue in origin.clues]
    evidence += [f"{k}: {v:.0%} of the fingerprint agrees" for k, v in origin.alike.items()]
    rows = [
        ["Ledger row", f"{entry.number}, hash {entry.hash}"],
        ["Made", entry.time_utc],
        ["By", body.get("user", "")],
        ["File then", f"{body.get('title', '')}, sha256 {entry.subject}"],
        ["Content number", body.get("produce_id", "")],
        ["Invisible mark", entry.mark_id],
        *map(list, trace.inputs(body).items()),
        *[[name, body[name]] for name in ("permission", "run", "code") if body.get(name)],
    ]
    if run is not None:
        rows.append(["MLflow run", run["run_id"]])
    told = [
        Part("text", f"{sure} by this installation."),
        Part("text", "Evidence, the surest first:"),
        Part("list", evidence),
        Part("table", [["What", "Record"], *[[k, _plain(v)] for k, v in rows if v]]),
    ]
    sources = body.get("sources", {})
    if sources:
        told += [
            Part("heading", "To take down"),
            Part("text", "These commands keep the recording and the sound from being used again, "
                         "with whatever settings, and are themselves recorded:"),
            Part("code", [
                f'heygem consent block --sha256 {sha256} --reason "..."  # the {name}'
                for name, sha256 in sources.items()
            ]),
        ]  # fmt: skip
    return told


def _plain(value):
    if isinstance(value, dict):
        value = ", ".join(f"{k}: {v}" for k, v in value.items())
    return " ".join(str(value).split())


def markdown(read, origin, ledger, run=None):
    """The report as Markdown, str."""
    lines = []
    for part in parts(read, origin, ledger, run):
        if part.kind == "title":
            lines += [f"# {trace.cell(part.content)}", ""]
        elif part.kind == "heading":
            lines += [f"## {part.content}", ""]
        elif part.kind == "text":
            lines += [part.content, ""]
        elif part.kind == "list":
            lines += [*[f"- {trace.cell(text)}" for text in part.content], ""]
        elif part.kind == "code":
            lines += ["```", *part.content, "```", ""]
        elif part.kind == "table":
            head, *rows = part.content
            lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
            lines += [f"| {' | '.join(map(trace.cell, row))} |" for row in rows] + [""]
    return "\n".join(lines)


def pdf(read, origin, ledger, run=None):
    """The report as PDF on A4, bytes, with a frame of the file.

    Letters that neither font holds are written by their numbers, as `\\u9f98`: nothing is dropped.
    """
    from fpdf import FPDF
    from fpdf.fonts import FontFace

    page = FPDF(format="A4")
    page.set_title(f"Trace report: {read.path.name}")
    page.set_auto_page_break(True, margin=12)
    known = _add_fonts(page)

    def safe(text):
        return "".join(c if ord(c) in known else ascii(c)[1:-1] for c in str(text))

    def write(text, size, gap, style=""):
        page.set_font("text", style, size)
        page.multi_cell(0, size * 0.5, safe(text), new_x="LMARGIN", new_y="NEXT", align="L")
        page.ln(gap)

    page.add_page()
    for part in parts(read, origin, ledger, run):
        if part.kind == "title":
            write(part.content, 18, 3, "B")
        elif part.kind == "heading":
            page.ln(2)
            write(part.content, 13, 1.5, "B")
        elif part.kind == "text":
            write(part.content, 10, 2)
        elif part.kind == "list":
            for text in part.content:
                write(f"•  {text}", 10, 0.5)
            page.ln(1.5)
        elif part.kind == "code":
            page.set_fill_color(240, 240, 240)
            for text in part.content:
                page.set_font("mono", "", 7)
                page.multi_cell(0, 4.5, safe(text), new_x="LMARGIN", new_y="NEXT", fill=True)
            page.ln(2)
        elif part.kind == "table":
            page.set_font("text", "", 9)
            narrow = (25,) * (len(part.content[0]) - 1)
            with page.table(
                col_widths=(*narrow, 100 - sum(narrow)),
                text_align="LEFT",
                line_height=4.8,
                headings_style=FontFace(emphasis="BOLD", fill_color=(225, 230, 240)),
            ) as table:
                for row in part.content:
                    table.row([safe(text) for text in row])
            page.ln(2)
        elif part.kind == "picture":
            picture = _frame(part.content)
            if picture is not None:
                page.image(picture, w=70)
                page.ln(2)
    return bytes(page.output())


def _add_fonts(page):
    """DejaVu for most scripts, the label's own font for Chinese; returns the letters in them."""
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    page.add_font("text", "", folder / "DejaVuSans.ttf")
    page.add_font("text", "B", folder / "DejaVuSans-Bold.ttf")
    page.add_font("mono", "", folder / "DejaVuSansMono.ttf")
    own = files("heygem.provenance") / str(_FONTS)
    page.add_font("chinese", "", str(own))
    page.set_fallback_fonts(["chinese"], exact_match=False)
    return set().union(*(page.fonts[key].cmap for key in ("text", "chinese")))


def _frame(path):
    """A frame from near the start as JPEG; None where there is no picture to show."""
    from PIL import Image

    try:
        with media.VideoReader(path) as reader:
            image = Image.fromarray(next(iter(reader)).image)
    except (HeygemError, StopIteration):
        return None
    image.thumbnail((FRAME_PX, FRAME_PX))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    data.seek(0)
    return data


def write(path, read, origin, ledger, run=None):
    """Write the report; a name that ends in .pdf gets a PDF, any other Markdown.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    as_pdf = path.suffix.lower() == ".pdf"
    content = (
        pdf(read, origin, ledger, run) if as_pdf else markdown(read, origin, ledger, run).encode()
    )
    try:
        path.write_bytes(content)
    except OSError as e:
        raise OutputError("the report cannot be written", seen=f"{path}: {e}") from e
