"""The gallery: static pages beside the results that list all items of a batch and play the videos.

The pages need no server and no network: every address in them is relative to their own folder, so
that the folder can be moved, copied or zipped as a whole.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from heygem.batch.item.details import MANIFEST, THUMBNAIL
from heygem.batch.results.item_table import Row
from heygem.batch.results.report import speech_label, summary_line
from heygem.batch.runner import Report
from heygem.core import i18n, templating
from heygem.core.i18n import Translate
from heygem.core.own_files import OwnFiles

PAGE_ITEMS = 100  # a browser opens that many players at once
MAX_FAILURES = 300  # listed on the first page; all are in the CSV file
_MEASURES = (
    ("av_corr", "{:.2f} r"),
    ("av_offset_ms", "{:+.0f} ms"),
    ("silence_leakage", "{:.2f}"),
)


def page_name(number: int) -> str:
    """File name of a page, numbered from 1."""
    return "gallery.html" if number == 1 else f"gallery-{number}.html"


def write(
    report: Report,
    table: Sequence[Row],
    own_files: OwnFiles,
    links: dict[str, Path],
    translate: Translate | None = None,
) -> list[Path]:
    """Write the pages into the folder of the results.

    Parameters
    ----------
    report : Report
    table : sequence of Row
        Its items.
    own_files : OwnFiles
        Of the folder.
    links : dict of str to Path
        Other files of the batch, by their title.
    translate : callable, optional
        Of the section "pages"; see `heygem.core.i18n.translator`.

    Returns
    -------
    list of Path
        The pages, the first one first.

    Raises
    ------
    OutputError
    """
    translate = translate or i18n.translator(section="pages")
    folder = own_files.folder
    shown = [row for row in table if row.outcome.status != "failed"]
    failed = [row for row in table if row.outcome.status == "failed"]
    count = max(1, -(-len(shown) // PAGE_ITEMS))
    pages = []

    def cards_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [_card(row, folder, translate) for row in rows]

    for number in range(1, count + 1):
        part = shown[(number - 1) * PAGE_ITEMS : number * PAGE_ITEMS]
        text = templating.render(
            "heygem.batch.results",
            "gallery.html",
            title=folder.absolute().name,
            lang=i18n.language_of(translate),
            t=translate,
            summary=summary_line(report, translate),
            now=datetime.now(UTC),
            warnings=report.warnings,
            failures=cards_of(failed[:MAX_FAILURES]) if number == 1 else [],
            failure_count=len(failed),
            cards=cards_of(part),
            links={title: _address(path, folder) for title, path in links.items()},
            pages=[page_name(k) for k in range(1, count + 1)],
            number=number,
        )
        with own_files.writing(page_name(number)) as staged:
            staged.write_text(text, encoding="utf-8", errors="backslashreplace")
        pages.append(folder / page_name(number))
    for path in _later_pages(folder, count):  # of an earlier, longer batch
        if own_files.may_replace(path):
            path.unlink()
    return pages


def _later_pages(folder: Path, count: int) -> list[Path]:
    number, paths = count + 1, []
    while (path := folder / page_name(number)).is_file():
        paths.append(path)
        number += 1
    return paths


def _card(row: Row, folder: Path, translate: Translate) -> dict[str, Any]:
    outcome = row.outcome
    details = outcome.details
    measures = outcome.manifest.get("measures") or {}
    manifest = details / MANIFEST if details is not None else None
    return {
        "name": outcome.name,
        "state": outcome.status,
        "variant": row.variant,
        "inputs": f"{outcome.video.name} + {speech_label(outcome)}",
        "video": _existing(outcome.output, folder),
        "thumbnail": _existing(details / THUMBNAIL if details else None, folder),
        "sheet": _existing(details / "contact_sheet.png" if details else None, folder),
        "curve": _existing(details / "lip_curve.png" if details else None, folder),
        "manifest": _existing(manifest, folder),
        "length": templating.clock(row.duration_s) if row.duration_s is not None else "",
        "took": f"{row.seconds:.1f} s",
        "real_time_factor": row.real_time_factor,
        "measures": [
            (translate(key), text.format(measures[key]))
            for key, text in _MEASURES
            if key in measures
        ],
        "warnings": outcome.warnings,
        "code": outcome.code,
        "error": {"what": "", "seen": "", "remedy": "", **row.error},
    }


def _existing(path: Path | None, folder: Path) -> str:
    return _address(path, folder) if path is not None and path.is_file() else ""


def _address(path: Path, folder: Path) -> str:
    """Relative address of a file, whatever its name."""
    return quote(os.fsencode(os.path.relpath(path, folder)))
