"""What a batch leaves beside its videos: gallery, tables, a comparison, and a ZIP of all."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heygem.batch.item.details import MANIFEST
from heygem.batch.items import DETAILS, Item
from heygem.batch.results import archive, gallery, item_table, sweep_comparison
from heygem.batch.runner import RECORD, Report, is_record, summary
from heygem.config.params import Params
from heygem.core import i18n, publish
from heygem.core.errors import Cancelled, HeygemError
from heygem.core.files import is_address, write_json
from heygem.core.own_files import OwnFiles
from heygem.core.types import Progress

log = logging.getLogger(__name__)

TABLE = "items.csv"


@dataclass(frozen=True)
class BatchFiles:
    """Files of a batch by what they are, and why some are missing.

    Attributes
    ----------
    files : dict of str to Path
        "gallery", "items", "record"; "comparison" of a sweep; "archive" if it was asked for.
    warnings : tuple of str
    """

    files: dict[str, Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def write(
    report: Report,
    params: Params,
    items: Sequence[Item] = (),
    *,
    film: bool = True,
    zipped: bool = False,
    extra: Sequence[Path] = (),
    lang: str = "",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> BatchFiles:
    """Write them. One that fails is a warning: the videos are there, and the others are written.

    Parameters
    ----------
    report : Report
    params : Params
        The recipe of the batch.
    items : sequence of Item
        From `plan_items(params)`; tells which items a sweep compares.
    film : bool
        Whether a sweep gets its films.
    zipped : bool
        Whether to write everything into one ZIP file too.
    extra : sequence of Path
        Other files of the batch in its folder, such as the executed notebook.
    lang : str
        Language of the pages; see `heygem.core.i18n.language`.
    progress, cancel
        As for `heygem.pipeline.generate`.

    Raises
    ------
    Cancelled
    """
    translate = i18n.translator(lang, "pages")
    own_files = OwnFiles(report.folder, overwrite=params.inputs.overwrite)
    table = item_table.rows(report.outcomes, items)
    files: dict[str, Path] = {}
    warnings: list[str] = []
    compared: list[Path] = []

    def compare() -> None:
        written = sweep_comparison.write(
            table, own_files, film=film, lang=lang, progress=progress, cancel=cancel
        )
        if written is not None:
            files["comparison"] = written.page
            compared.extend(written.files)

    def write_table() -> None:
        with own_files.writing(TABLE) as staged:
            item_table.write_csv(table, staged)
        files["items"] = report.folder / TABLE

    def write_gallery() -> None:
        keys = [key for key in ("comparison", "items", "record") if key in files]
        links = {translate(f"{key}_link"): files[key] for key in keys}
        links |= {path.name: path for path in extra}
        pages = gallery.write(report, table, own_files, links, translate)
        files["gallery"] = pages[0]
        compared.extend(pages)

    def write_archive() -> None:
        content = [*files.values(), *compared, *extra, *_result_files(report)]
        target = report.folder / archive.NAME
        silent = lambda *_: None  # noqa: E731
        files["archive"] = archive.write_files(
            report.folder, content, target, progress or silent, cancel or threading.Event()
        )

    def write_facts() -> None:
        files["record"] = write_record(report, params)

    steps = [("the record", write_facts), ("the table of items", write_table)]
    if is_address(params.inputs.output):
        warnings.append(_how_to_get_pages(params.inputs.output))
    else:
        steps.insert(1, ("the comparison", compare))
        steps.append(("the gallery", write_gallery))
        steps += [("the ZIP", write_archive)] if zipped else []
    for name, step in steps:
        try:
            step()
        except Cancelled:
            raise
        except HeygemError as error:
            warnings.append(f"{name} was not written: {error}")
        except Exception as error:
            log.exception("%s of %s", name, report.folder)
            warnings.append(f"{name} was not written: unexpected {type(error).__name__}")
    if not zipped:
        archive.remove_stale(report.folder)
    return BatchFiles(files, tuple(warnings))


def _how_to_get_pages(address: str) -> str:
    return (
        "gallery and comparison are made of videos in a folder, and these are in a store: "
        f"copy {address} to a folder, and run this again with inputs.output set to that folder; "
        "what is there is not made again"
    )


def write_record(report: Report, params: Params) -> Path:
    """Write `batch.json`, the facts of all items as data, into the folder; returns its path.

    Raises
    ------
    OutputError
        The folder cannot be written, or a file of the user has this name.
    """
    may_replace = publish.always if params.inputs.overwrite else is_record
    publish.check(report.folder / RECORD, may_replace=may_replace)
    return write_json(report.folder, summary(report, params), name=RECORD, mode=0o600)


def _result_files(report: Report) -> list[Path]:
    """Videos that are there, with their manifests and figures."""
    files: list[Path] = []
    for outcome in report.of("done", "skipped"):
        if outcome.output is None or not outcome.output.is_file():
            continue
        files.append(outcome.output)
        details = outcome.details or report.folder / DETAILS / outcome.name
        files.append(details / MANIFEST)
        files += sorted(path for path in details.glob("[!.]*") if path.name != MANIFEST)
    return files
