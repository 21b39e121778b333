"""What a batch leaves: gallery, tables, ZIP; they hold what is there, and nothing else."""

import csv
import json
import re
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from helpers import disks

from heygem.batch import runner
from heygem.batch.items import plan_items
from heygem.batch.results import archive, batch_files, gallery
from heygem.core import files as core_files
from heygem.provenance import containers


@pytest.fixture
def made(recipe, pipeline_stub, tmp_path):
    """A batch with two good items, one of them with an odd name, and two bad ones."""
    params = recipe(
        "fine", "fine", "faceless", "crash", names=["anna.mp4", "b#<i>%é?.mp4", "bad.mp4", "x.mp4"]
    )
    return params, runner.run(params)


def addresses(page):
    text = page.read_text("utf-8")
    found = re.findall(r'(?:href|src|poster)="([^"#]+)"', text)
    return [unquote(address) for address in found]


@pytest.mark.slow
def test_every_address_in_the_gallery_is_relative_and_leads_to_a_file(made):
    params, report = made
    files = batch_files.write(report, params, plan_items(params)).files
    folder = Path(params.inputs.output)
    found = addresses(files["gallery"])
    assert files["gallery"] == folder / "gallery.html" and len(found) > 8
    for address in found:
        assert not re.match(r"[a-z]+:|/", address), address
        assert (folder / address).is_file(), address
    assert {"anna-voice.mp4", "items.csv", "batch.json", "details/anna-voice/manifest.json"} <= set(
        found
    )


@pytest.mark.slow
def test_the_gallery_says_what_failed_and_what_to_do(made):
    params, report = made
    text = batch_files.write(report, params).files["gallery"].read_text("utf-8")
    assert "4 items: 2 made, 2 failed" in text
    assert "no face" in text and "What to do: give another" in text and "NO_" not in text
    assert "unexpected ZeroDivisionError: bang" in text and "INTERNAL" in text
    assert "<i>" not in text and "b#&lt;i&gt;%é?.mp4" in text


@pytest.mark.slow
def test_thumbnails_in_the_gallery_carry_the_label(made):
    params, report = made
    batch_files.write(report, params)
    for outcome in report.of("done"):
        (text,) = containers.read_tags(outcome.details / "thumbnail.jpg")
        assert json.loads(text)["Label"] == "1"


@pytest.mark.slow
def test_a_long_gallery_has_pages_and_loses_those_of_a_longer_one(made, monkeypatch):
    params, report = made
    monkeypatch.setattr(gallery, "PAGE_ITEMS", 1)
    batch_files.write(report, params)
    folder = Path(params.inputs.output)
    second = folder / "gallery-2.html"
    assert "gallery-2.html" in addresses(folder / "gallery.html") and second.is_file()
    assert "What to do" not in second.read_text("utf-8")
    monkeypatch.undo()
    batch_files.write(report, params)
    assert not second.exists()


@pytest.mark.slow
def test_a_page_of_the_user_stays(made):
    params, report = made
    mine = Path(params.inputs.output) / "gallery.html"
    mine.write_text("mine")
    written = batch_files.write(report, params)
    assert mine.read_text() == "mine" and "gallery" not in written.files
    assert "the gallery was not written" in written.warnings[0] and "items" in written.files


@pytest.mark.slow
def test_the_table_holds_all_items_for_a_spreadsheet(made):
    params, report = made
    path = batch_files.write(report, params).files["items"]
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 4
    anna, bad = rows["anna-voice"], rows["bad-voice"]
    assert (anna["state"], anna["duration_s"], anna["frames"]) == ("done", "0.2", "5")
    assert anna["sha256"] == core_files.sha256(Path(anna["result"]))
    assert (bad["state"], bad["error"], bad["remedy"]) == ("failed", "no face", "give another")
    assert bad["code"] == "BAD_INPUT" and rows["x-voice"]["code"] == "INTERNAL"


@pytest.mark.slow
def test_a_name_that_looks_like_a_formula_is_text(made):
    params, report = made
    odd = replace(report.outcomes[0], name="=HYPERLINK()")
    path = batch_files.write(replace(report, outcomes=(odd,)), params).files["items"]
    assert "'=HYPERLINK()" in path.read_text("utf-8-sig")


@pytest.mark.slow
def test_the_zip_holds_the_folder_as_it_is_and_no_deleted_item(made, tmp_path):
    params, report = made
    folder = Path(params.inputs.output)
    path = batch_files.write(report, params, zipped=True).files["archive"]
    with zipfile.ZipFile(path) as content:
        assert content.testzip() is None
        content.extractall(tmp_path / "elsewhere")
    for address in addresses(tmp_path / "elsewhere" / "gallery.html"):
        assert (tmp_path / "elsewhere" / address).is_file(), address
    (folder / "anna-voice.mp4").unlink()
    again = batch_files.write(report, params, zipped=True).files
    with zipfile.ZipFile(again["archive"]) as content:
        assert not [name for name in content.namelist() if "anna-voice" in name]
    assert "the file is not there any more" in again["gallery"].read_text("utf-8")
    next(folder.glob("*.mp4")).unlink()
    batch_files.write(report, params)  # nobody asked for a ZIP: the old one must not stay
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.fault
def test_a_zip_for_which_the_disk_is_too_small_leaves_the_earlier_one(made, tmp_path):
    params, report = made
    with disks.mounted(tmp_path / "disk", "256k") as disk:
        whole = archive.write_files(
            report.folder, [report.folder / "batch.json"], disk / "results.zip", lambda *_: None,
            threading.Event(),
        )  # fmt: skip
        before = whole.read_bytes()
        (report.folder / "large.mp4").write_bytes(b"x" * 400_000)
        with pytest.raises(Exception, match="the disk is full"):
            archive.write_files(
                report.folder, [report.folder / "large.mp4"], disk / "results.zip",
                lambda *_: None, threading.Event(),
            )  # fmt: skip
        assert whole.read_bytes() == before
        assert [path.name for path in disk.iterdir()] == ["results.zip"]


@pytest.mark.slow
def test_the_gallery_is_written_in_the_language_that_is_asked_for(made, monkeypatch):
    params, report = made
    text = batch_files.write(report, params, lang="zh").files["gallery"].read_text("utf-8")
    assert '<html lang="zh">' in text and "共 4 项：已生成 2 个, 失败 2 个" in text
    assert "处理办法：" in text and "全部项目（CSV）" in text
    for phrase in ("What to do", "Not made", "manifest<", "labelled", "all items", "took"):
        assert phrase not in text, phrase
    monkeypatch.setenv("HEYGEM_LANG", "zh")
    again = batch_files.write(report, params).files["gallery"].read_text("utf-8")
    assert '<html lang="zh">' in again
