"""The trace report: what a file is and which run it comes from, as Markdown and as PDF.

Both forms have the same content: Markdown for further work, PDF for a recipient. Each can be
redacted, for a recipient outside: then it names no user, file or folder. File names and findings
come from outside: all forms render them as plain text only.
"""

import datetime
import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heygem import media
from heygem.core import templating
from heygem.core.errors import HeygemError
from heygem.core.publish import BY_HAND, publishing
from heygem.core.types import PathLike
from heygem.media.container import printable
from heygem.provenance.evidence import EVIDENCE, Origin, input_summary
from heygem.provenance.trace import PROBABLE, Trace

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


def report_parts(traced: Trace, run: Run | None = None, *, redacted: bool = False) -> list[Part]:
    """The parts of the report in order.

    Parameters
    ----------
    traced
    run
        Of MLflow.
    redacted
        Leave out names of users, files and folders, and commands for this installation.
    """
    path = traced.verification.path
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    layers = [
        [name, layer.verdict, "; ".join(layer.findings)]
        for name, layer in traced.verification.layers.items()
    ]
    facts = [
        f"Written: {now}",
        f"File examined, sha256: {traced.verification.sha256}",
        f"Conclusion: {_conclusion(traced)}",
        f"Labels and conclusion as a whole: {traced.verdict}",
        f"Ledger: {_ledger_state(traced)}",
    ]
    parts = [
        Part("title", "Trace report" if redacted else f"Trace report: {path.name}"),
        Part("list", facts),
        Part("picture", path),
        Part("heading", "What it was concluded from"),
        Part("list", _grounds(traced)),
        Part("heading", "Labels"),
        Part("table", [["Layer", "Verdict", "Findings"], *layers]),
        Part("heading", "Origin"),
    ]
    if traced.origin is not None:
        parts += _origin_parts(traced.origin, traced.certainty, run, redacted)
    else:
        not_found = (
            "No run of this installation, as far as is known. Runs that labels or content point "
            "to without being the origin are listed above."
        )
        parts.append(Part("text", not_found))
    if traced.faults:
        parts.append(Part("heading", "Faults of the ledger"))
        faults = [f"Row {fault.number} {fault.problem}" for fault in traced.faults]
        parts.append(Part("list", faults))
    disclaimer = (
        "This report states what was found in the file and in the records of one installation. "
        "It is not a legal assessment."
    )
    return [*parts, Part("text", disclaimer)]


def _conclusion(traced: Trace) -> str:
    return f"{traced.conclusion}{f' ({traced.certainty})' if traced.certainty else ''}"


def _ledger_state(traced: Trace) -> str:
    if traced.faults:
        return f"{len(traced.faults)} faults, see the end"
    return "none here" if traced.ledger is None else "every row is valid"


def _grounds(traced: Trace) -> list[str]:
    """Reasons, conflicts and what was not checked, one line each."""
    unchecked = [f"not checked: {each}" for each in traced.unchecked]
    conflicts = [f"conflict: {each}" for each in traced.conflicts]
    return [*traced.reasons, *conflicts, *unchecked] or ["no label and no known content"]


def _origin_rows(origin: Origin, run: Run | None, redacted: bool) -> list[tuple[str, Any]]:
    """What the ledger says of a run: what, by whom, when, from what."""
    entry, body = origin.entry, origin.entry.body
    rows: list[tuple[str, Any]] = [
        ("Ledger row", f"{entry.number}, hash {entry.hash}"),
        ("Made" if entry.kind == "made" else "Begun", entry.time_utc),
    ]
    if not redacted:
        rows += [("By", body.get("user", "")), ("As", body.get("title", ""))]
    rows += [
        ("sha256 then", entry.subject if entry.kind == "made" else ""),
        ("Content number", body.get("produce_id", "")),
        ("Invisible watermark", entry.watermark_id),
    ]
    if redacted:
        sources = body.get("sources", {}).items()
        rows += [(f"sha256 of the {name}", value) for name, value in sources]
    else:
        rows += input_summary(body).items()
        rows += [(name, body[name]) for name in ("permission", "run", "code") if name in body]
    if run is not None and not redacted:
        rows.append(("MLflow run", f"{run['run_id']}, heygem ui --folder {run['folder']}"))
    return [(name, value) for name, value in rows if value]


def _origin_parts(origin: Origin, certainty: str, run: Run | None, redacted: bool) -> list[Part]:
    made = "Probably made" if certainty == PROBABLE else "Made"
    rows = [[name, _plain(value)] for name, value in _origin_rows(origin, run, redacted)]
    parts = [
        Part("text", f"{made} by this installation."),
        Part("text", "Evidence, the strongest first:"),
        Part("list", [EVIDENCE[kind] for kind in origin.evidence] or ["part of its content"]),
        Part("table", [["What", "Record"], *rows]),
    ]
    sources = origin.entry.body.get("sources", {})
    if sources and not redacted:
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


def text(traced: Trace, run: Run | None = None, *, redacted: bool = False) -> str:
    """Conclusion, grounds, labels and origin in a few lines for a terminal."""
    path = traced.verification.path
    name = f"sha256 {traced.verification.sha256}" if redacted else printable(path)
    lines = [f"{name}: {traced.verdict}", f"  {_conclusion(traced)}"]
    lines += [f"    {_plain(ground)}" for ground in _grounds(traced)]
    lines += [f"    the ledger has {len(traced.faults)} faults: run `heygem ledger verify`"] * bool(
        traced.faults
    )
    if traced.origin is not None:
        rows = _origin_rows(traced.origin, run, redacted)
        lines += [f"  {what.lower():19} {_plain(value)}" for what, value in rows]
    for layer_name, layer in traced.verification.layers.items():
        findings = f"  {'; '.join(layer.findings)}" if layer.findings else ""
        lines.append(f"  {layer_name:9} {layer.verdict:13}{_plain(findings)}")
    return "\n".join(line.rstrip() for line in lines)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{k}: {v}" for k, v in value.items())
    return " ".join(str(value).split())


def escape_cell(value: Any) -> str:
    """Text of a value that cannot end a table cell or begin other markup."""
    text = _plain(value).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")
    return text.replace("<", "&lt;")


def summary(traced: Trace, run: Run | None = None, *, redacted: bool = False) -> str:
    """Conclusion, labels and origin in a few lines of Markdown, for a notebook."""
    origin = traced.origin
    return templating.render(
        "heygem.provenance",
        "trace_summary.md",
        filters={"cell": escape_cell},
        traced=traced,
        name=traced.verification.sha256 if redacted else traced.verification.path.name,
        conclusion=_conclusion(traced),
        grounds=_grounds(traced),
        rows=_origin_rows(origin, run, redacted) if origin is not None else [],
    )


def markdown(traced: Trace, run: Run | None = None, *, redacted: bool = False) -> str:
    """The report as Markdown."""
    parts = report_parts(traced, run, redacted=redacted)
    return templating.render(
        "heygem.provenance", "trace_report.md", filters={"cell": escape_cell}, parts=parts
    )


def pdf(traced: Trace, run: Run | None = None, *, redacted: bool = False) -> bytes:
    """The report as PDF on A4, with a frame of the file.

    Characters without a glyph in either font are written as escapes, such as `\\u9f98`.
    """
    from fpdf import FPDF

    page = FPDF(format="A4")
    parts = report_parts(traced, run, redacted=redacted)
    page.set_title(parts[0].content)
    page.set_auto_page_break(True, margin=12)
    supported = _add_fonts(page)
    page.add_page()
    for part in parts:
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


def write(path: PathLike, traced: Trace, run: Run | None = None, *, redacted: bool = False) -> None:
    """Write the report: as PDF if the name ends in .pdf, as Markdown otherwise.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".pdf":
        content = pdf(traced, run, redacted=redacted)
    else:
        content = markdown(traced, run, redacted=redacted).encode()
    with publishing(path, way_out=BY_HAND) as staged:
        staged.write_bytes(content)
