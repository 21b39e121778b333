"""Trace reports: Markdown, PDF, the notebook and the page."""

import nbformat
import pytest
from pypdf import PdfReader

from heygem.batch import notebooks
from heygem.core.files import hash_input
from heygem.studio.pages.trace import TracePage


@pytest.mark.slow
def test_the_report_in_markdown_names_the_run_and_the_takedown_command(
    installation, command, tmp_path
):
    out = tmp_path / "report.md"
    assert command("verify", installation.result, "--report", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "Made by this installation" in text and "r-17" in text
    assert f"heygem consent block --sha256 {hash_input(installation.source)}" in text


@pytest.mark.slow
def test_the_report_as_pdf_has_the_same_content_and_drops_no_character(
    installation, command, tmp_path
):
    copy = tmp_path / "生成 龘 <b>.mp4"
    copy.write_bytes(installation.result.read_bytes())
    out = tmp_path / "report.pdf"
    assert command("verify", copy, "--report", out).exit_code == 0
    pages = PdfReader(out).pages
    text = "\n".join(page.extract_text() for page in pages).replace("\0", "")
    text = " ".join(text.split())
    assert "Trace report: 生成" in text
    assert "\\u9f98 <b>.mp4" in text  # in neither font
    assert "Made by this installation" in text and "r-17" in text
    assert hash_input(installation.source)[:20] in text.replace(" ", "")
    assert [len(page.images) for page in pages][0] == 1  # what it looks like


@pytest.mark.slow
def test_the_notebook_traces_files(installation, tmp_path, monkeypatch):
    """Its cells, run in order as a kernel would, on a result and on a stranger's file."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(installation.root))
    monkeypatch.chdir(tmp_path)
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda m: displayed.append(m.data))
    names = {}
    for cell in nbformat.read(notebooks.root() / "notebooks" / "30_trace.ipynb", 4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {
                    "files": [str(installation.result), str(installation.source)],
                    "search": False,
                }
    assert (
        hash_input(installation.source) in displayed[0]
        and "No run of this installation" in displayed[1]
    )
    assert len(list((tmp_path / "runs" / "trace").glob("*.md"))) == 2


@pytest.mark.slow
def test_a_file_chosen_in_the_page_is_traced(installation, tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(installation.root))
    page = TracePage(folder=tmp_path, out=tmp_path / "traced")
    wild = tmp_path / "<i>wild.mp4"
    wild.write_bytes(installation.result.read_bytes())
    page.file.chosen = str(wild)
    page.button.click()
    assert page.task.wait(120) and page.task.error is None
    assert "Made by this installation." in page.report.value
    assert "compliant: made here, unchanged" in page.report.value
    assert "<i>" not in page.report.value
    names = {path.name for path in (tmp_path / "traced").iterdir()}
    assert names == {"<i>wild.pdf", "<i>wild.md"}
    page.trace(tmp_path / "nowhere.mp4")
    assert page.task.wait(60) and "nowhere.mp4" in page.status.error.value


@pytest.mark.slow
def test_a_redacted_report_names_no_user_file_or_folder(installation, command, tmp_path):
    path = tmp_path / "anna-schmidt.mp4"
    path.write_bytes(installation.result.read_bytes())
    (row,) = installation.ledger.entries(subject=hash_input(path))
    secret = [row.body["user"], row.body["title"], "anna-schmidt", str(tmp_path), "r-17"]
    for suffix in ("md", "pdf"):
        out = tmp_path / f"report.{suffix}"
        shown = command("verify", path, "--redacted", "--report", out, "--no-search")
        assert shown.exit_code == 0
        if suffix == "pdf":
            reader = PdfReader(out)
            text = "\n".join(page.extract_text() for page in reader.pages)
            text += str(reader.metadata)
        else:
            text = out.read_text(encoding="utf-8")
        assert f"{row.number}, hash" in text and "Made by this installation" in text
        for each in (text, shown.stdout):
            words = set(each.replace("/", " ").split())
            assert not [name for name in secret if name in words or len(name) > 6 and name in each]
    data = command("verify", path, "--redacted", "--json", "--no-search").stdout
    assert row.hash in data and "anna-schmidt" not in data and row.body["title"] not in data
    assert str(tmp_path) not in data and '"user"' not in data


@pytest.mark.slow
def test_the_page_writes_redacted_reports(installation, tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(installation.root))
    page = TracePage(folder=tmp_path, out=tmp_path / "traced")
    page.redacted.value = True
    page.trace(installation.result)
    assert page.task.wait(120)
    assert "Made by this installation." in page.report.value
    assert installation.result.name not in page.report.value
    assert all(each.name.startswith("redacted-") for each in (tmp_path / "traced").iterdir())
