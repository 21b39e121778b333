"""What tracing a file says, for a page."""

import html

from heygem.provenance import trace_report
from heygem.provenance.trace import Trace


def trace_html(traced: Trace, run: trace_report.Run | None, redacted: bool = False) -> str:
    """The conclusion, what it rests on, the run, and the labels."""
    parts = trace_report.report_parts(traced, run, redacted=redacted)
    shown = [part for part in parts if part.kind in ("title", "heading", "text", "list", "table")]
    text = html.escape(f"{traced.verdict}: {traced.conclusion}")
    verdict = f'<p class="hg-trace hg-{html.escape(traced.verdict)}"><b>{text}</b></p>'
    title, *rest = (_part_html(part) for part in shown)
    return "".join([title, verdict, *rest])


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
