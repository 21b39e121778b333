"""The trace report: the labels of a file and the run it comes from, as Markdown and as PDF.

Both forms have the same content: Markdown for further work, PDF for a recipient. File names and
findings come from outside: both forms render them as plain text only.
"""

import datetime
import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heygem import media
from heygem.core import templating
from heygem.core.errors import HeygemError, OutputError
from heygem.core.files import hash_input
from heygem.core.types import PathLike
from heygem.provenance.ledger import Ledger
from heygem.provenance.trace import EVIDENCE, Origin, input_summary
from heygem.provenance.verify import Verification

if TYPE_CHECKING:
    from fpdf import FPDF

FRAME_PX = 480  # longer side of the frame in the PDF
_FONT = Path("fonts/NotoSansCJKsc-Bold-subset.otf")
Run = dict[str, Any]  # of MLflow: `folder` and `run_id`, see `heygem.experiments.store.find_run`


@dataclass(frozen=True)
class Part:
    """A part of the report: `title`, `heading`, `text`, `list`, `table`, `code` or `picture`.

    `content` is a str, a list of str, a list of rows (the first is the header), or a path.
    """

    kind: str
    content: Any


def report_parts(
    verification: Verification, origin: Origin | None, ledger: Ledger, run: Run | None = None
) -> list[Part]:
    """The parts of the report in order.

    The ledger is verified as a whole: evidence from a damaged record is worthless.
    """
    faults = ledger.verify()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    ledger_state = "every row is valid" if not faults else f"{len(faults)} faults, see the end"
    path = verification.path
    layers = [
        [name, layer.verdict, "; ".join(layer.findings)]
        for name, layer in verification.layers.items()
    ]
    facts = [
        f"Written: {now}",
        f"File examined, sha256: {hash_input(path)}",
        f"Labels as a whole: {verification.verdict}",
        f"Ledger: {ledger_state}",
    ]
    parts = [
        Part("title", f"Trace report: {path.name}"),
        Part("list", facts),
        Part("picture", path),
        Part("heading", "Labels"),
        Part("table", [["Layer", "Verdict", "Findings"], *layers]),
        Part("heading", "Origin"),
    ]
    if origin is not None:
        parts += _origin_parts(origin, run)
    else:
        not_found = (
            "Not made by this installation, as far as it can tell: neither the file's hash nor "
            "its metadata, nor an invisible watermark, nor its picture and sound lead to a "
            "recorded run."
        )
        parts.append(Part("text", not_found))
    if faults:
        parts.append(Part("heading", "Faults of the ledger"))
        parts.append(Part("list", [f"Row {fault.number} {fault.problem}" for fault in faults]))
    disclaimer = (
        "This report states what was found in the file and in the records of one installation. "
        "It is not a legal assessment."
    )
    return [*parts, Part("text", disclaimer)]


def _origin_parts(origin: Origin, run: Run | None) -> list[Part]:
    entry, body = origin.entry, origin.entry.body
    evidence = [EVIDENCE[kind] for kind in origin.evidence]
    evidence += [f"{k}: {v:.0%} of the fingerprint agrees" for k, v in origin.similarity.items()]
    rows: list[tuple[str, Any]] = [
        ("Ledger row", f"{entry.number}, hash {entry.hash}"),
        ("Made", entry.time_utc),
        ("By", body.get("user", "")),
        ("File then", f"{body.get('title', '')}, sha256 {entry.subject}"),
        ("Content number", body.get("produce_id", "")),
        ("Invisible watermark", entry.watermark_id),
        *input_summary(body).items(),
        *[(name, body[name]) for name in ("permission", "run", "code") if body.get(name)],
    ]
    if run is not None:
        rows.append(("MLflow run", run["run_id"]))
    table = [["What", "Record"], *[[name, _plain(value)] for name, value in rows if value]]
    parts = [
        Part("text", f"{'Made' if origin.is_proven else 'Probably made'} by this installation."),
        Part("text", "Evidence, the strongest first:"),
        Part("list", evidence),
        Part("table", table),
    ]
    sources = body.get("sources", {})
    if sources:
        takedown = (
            "These commands keep the recording and the sound from being used again, with "
            "whatever settings, and are themselves recorded:"
        )
        commands = [
            f'heygem consent block --sha256 {sha256} --reason "..."  # the {name}'
            for name, sha256 in sources.items()
        ]
        parts += [Part("heading", "To take down"), Part("text", takedown), Part("code", commands)]
    return parts


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{k}: {v}" for k, v in value.items())
    return " ".join(str(value).split())


def escape_cell(value: Any) -> str:
    """Text of a value that cannot end a table cell or begin other markup."""
    text = _plain(value).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")
    return text.replace("<", "&lt;")


def summary(verification: Verification, origin: Origin | None, run: Run | None = None) -> str:
    """Labels and origin in a few lines of Markdown, for a notebook."""
    inputs = input_summary(origin.entry.body) if origin is not None else {}
    return templating.render(
        "heygem.provenance",
        "trace_summary.md",
        filters={"cell": escape_cell},
        verification=verification,
        origin=origin,
        inputs=inputs,
        run=run,
    )


def markdown(
    verification: Verification, origin: Origin | None, ledger: Ledger, run: Run | None = None
) -> str:
    """The report as Markdown."""
    parts = report_parts(verification, origin, ledger, run)
    return templating.render(
        "heygem.provenance", "trace_report.md", filters={"cell": escape_cell}, parts=parts
    )


def pdf(
    verification: Verification, origin: Origin | None, ledger: Ledger, run: Run | None = None
) -> bytes:
    """The report as PDF on A4, with a frame of the file.

    Characters without a glyph in either font are written as escapes, such as `\\u9f98`.
    """
    from fpdf import FPDF

    page = FPDF(format="A4")
    page.set_title(f"Trace report: {verification.path.name}")
    page.set_auto_page_break(True, margin=12)
    supported = _add_fonts(page)
    page.add_page()
    for part in report_parts(verification, origin, ledger, run):
        _add_part(page, part, supported)
    return bytes(page.output())


def _add_part(page: "FPDF", part: Part, supported: set[int]) -> None:
    def printable(text: Any) -> str:
        return "".join(c if ord(c) in supported else ascii(c)[1:-1] for c in str(text))

    def write_line(text: str, size: float, gap: float, style: Any = "") -> None:
        page.set_font("text", style, size)
        page.multi_cell(0, size * 0.5, printable(text), new_x="LMARGIN", new_y="NEXT", align="L")
        page.ln(gap)

    if part.kind == "title":
        write_line(part.content, 18, 3, "B")
    elif part.kind == "heading":
        page.ln(2)
        write_line(part.content, 13, 1.5, "B")
    elif part.kind == "text":
        write_line(part.content, 10, 2)
    elif part.kind == "list":
        for text in part.content:
            write_line(f"•  {text}", 10, 0.5)
        page.ln(1.5)
    elif part.kind == "code":
        page.set_fill_color(240, 240, 240)
        for text in part.content:
            page.set_font("mono", "", 7)
            page.multi_cell(0, 4.5, printable(text), new_x="LMARGIN", new_y="NEXT", fill=True)
        page.ln(2)
    elif part.kind == "table":
        _add_table(page, [[printable(text) for text in row] for row in part.content])
    elif part.kind == "picture":
        frame = _first_frame(part.content)
        if frame is not None:
            page.image(frame, w=70)
            page.ln(2)


def _add_table(page: "FPDF", rows: list[list[str]]) -> None:
    from fpdf.fonts import FontFace

    page.set_font("text", "", 9)
    narrow = (25,) * (len(rows[0]) - 1)
    with page.table(
        col_widths=(*narrow, 100 - sum(narrow)),
        text_align="LEFT",
        line_height=4.8,
        headings_style=FontFace(emphasis="BOLD", fill_color=(225, 230, 240)),
    ) as table:
        for row in rows:
            table.row(row)
    page.ln(2)


def _add_fonts(page: "FPDF") -> set[int]:
    """Add DejaVu and, for Chinese, the label's own font; returns their characters."""
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    page.add_font("text", "", folder / "DejaVuSans.ttf")
    page.add_font("text", "B", folder / "DejaVuSans-Bold.ttf")
    page.add_font("mono", "", folder / "DejaVuSansMono.ttf")
    page.add_font("chinese", "", str(files("heygem.provenance") / str(_FONT)))
    page.set_fallback_fonts(["chinese"], exact_match=False)
    return {code for key in ("text", "chinese") for code in getattr(page.fonts[key], "cmap", ())}


def _first_frame(path: PathLike) -> io.BytesIO | None:
    """The first frame as JPEG; None without a picture."""
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


def write(
    path: PathLike,
    verification: Verification,
    origin: Origin | None,
    ledger: Ledger,
    run: Run | None = None,
) -> None:
    """Write the report: as PDF if the name ends in .pdf, as Markdown otherwise.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".pdf":
        content = pdf(verification, origin, ledger, run)
    else:
        content = markdown(verification, origin, ledger, run).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError("the report cannot be written", seen=f"{path}: {error}") from error
