"""What tracing a file says, for a page."""

import html

from heygem.core.error_texts import localized_finding
from heygem.core.i18n import LANGUAGES
from heygem.provenance import trace_report
from heygem.provenance.trace import Trace


def trace_html(
    traced: Trace,
    run: trace_report.Run | None,
    redacted: bool = False,
    *,
    lang: str = LANGUAGES[0],
) -> str:
    """The conclusion, what it rests on, the run, and the labels, in the language of a page."""
    parts = [
        _localized(part, lang) for part in trace_report.report_parts(traced, run, redacted=redacted)
    ]
    shown = [part for part in parts if part.kind in ("title", "heading", "text", "list", "table")]
    verdict, conclusion = (
        localized_finding(text, lang) for text in (traced.verdict, traced.conclusion)
    )
    text = html.escape(f"{verdict}: {conclusion}")
    summary = f'<p class="hg-trace hg-{html.escape(traced.verdict)}"><b>{text}</b></p>'
    title, *rest = (_part_html(part) for part in shown)
    return "".join([title, summary, *rest])


def _localized(part: trace_report.Part, lang: str) -> trace_report.Part:
    """A part in a language; what a table records of a run stays as it was recorded."""
    if part.kind == "table":
        header, *rows = part.content
        is_record = header[-1] == "Record"
        first = [[localized_finding(cell, lang) for cell in header]]
        rest = [
            [localized_finding(cell, lang) for cell in row[:-1]]
            + [row[-1] if is_record else localized_finding(row[-1], lang)]
            for row in rows
        ]
        return trace_report.Part(part.kind, first + rest)
    if part.kind == "list":
        return trace_report.Part("list", [localized_finding(str(t), lang) for t in part.content])
    if part.kind in ("title", "heading", "text"):
        return trace_report.Part(part.kind, localized_finding(str(part.content), lang))
    return part


def _part_html(part: trace_report.Part) -> str:
    if part.kind == "list":
        return f"<ul>{''.join(f'<li>{html.escape(str(each))}</li>' for each in part.content)}</ul>"
    if part.kind == "table":
        rows = [
            f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>"
            for row in part.content
        ]
        return f"<table>{''.join(rows)}</table>"
    tag = {"title": "h3", "heading": "h4"}.get(part.kind, "p")
    return f"<{tag}>{html.escape(str(part.content))}</{tag}>"
