"""The studio's page: its kernel ends with it, its token is seen by nobody."""

import asyncio
import http.client
import logging
import re
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

import nbformat
import pytest
from helpers.browser import PROJECT, TOKEN, Server, ask, free_port
from traitlets.config import Config
from voila.execute import VoilaExecutor

from heygem.core.errors import ParameterError
from heygem.server import jupyter, voila_page
from heygem.server.kernels import KernelManager

REDIRECT = 302


class Kernels(dict):
    """A kernel manager of which only the list is needed."""

    log = logging.getLogger(__name__)

    def list_kernels(self):
        return [{"id": name, **state} for name, state in self.items()]

    def list_kernel_ids(self):
        return list(self)

    def shutdown_kernel(self, kernel_id):
        del self[kernel_id]


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def kernels():
    return Kernels(page={"connections": 1, "execution_state": "idle"})


@pytest.fixture
def watch(kernels, clock):
    return voila_page.PageKernels(kernels, clock=lambda: clock[0])


def test_a_page_that_is_gone_frees_its_kernel_within_a_minute_even_a_busy_one(
    watch, kernels, clock
):
    assert watch.gone() == []
    kernels["page"] = {"connections": 0, "execution_state": "busy"}  # reports to nobody
    ended_s = next(t for t in range(60) if clock.__setitem__(0, t) or watch.gone())
    assert voila_page.GRACE_S < ended_s <= voila_page.GRACE_S + 1


def test_a_connection_that_failed_before_it_was_counted_does_not_keep_a_kernel(
    watch, kernels, clock
):
    kernels["page"] = {"connections": -1, "execution_state": "idle"}
    watch.gone()
    clock[0] += voila_page.GRACE_S + 1
    assert watch.gone() == ["page"]


def test_nothing_is_kept_for_a_page_that_disconnects_while_its_kernel_ends():
    class Channel:
        socket, is_open = SimpleNamespace(closed=False), True

        def on_recv(self, _):
            pass

        def close(self):
            self.is_open = False

    manager, channel = KernelManager(), Channel()
    manager._kernels["one"] = SimpleNamespace()
    manager.start_buffering("one", "session", {"iopub": channel})
    manager.remove_kernel("one")
    assert not manager._kernel_buffers and not channel.is_open


def test_the_memory_of_a_page_goes_back_to_the_system_once_its_kernel_has_ended(
    watch, kernels, monkeypatch
):
    releases = []
    monkeypatch.setattr(voila_page, "release_unused", lambda: releases.append(list(kernels)))
    for _ in range(2):
        asyncio.run(watch.end_gone())
    assert not releases
    kernels.shutdown_kernel("page")  # as the page asks when it is left
    for _ in range(2):
        asyncio.run(watch.end_gone())
    assert releases == [[]]


def test_the_output_of_a_page_is_waited_for_on_a_busy_machine():
    config = Config()
    voila_page.configure_voila(config)
    executor = VoilaExecutor(nbformat.v4.new_notebook(), config=config)
    assert executor.iopub_timeout >= 60


def test_a_page_that_returns_in_time_keeps_its_kernel(watch, kernels, clock):
    watch.gone()
    for connections in (0, 1, 0, 1):
        kernels["page"]["connections"] = connections
        clock[0] += voila_page.GRACE_S - 1
        assert watch.gone() == []


def test_a_page_that_is_still_running_its_notebook_is_not_cut_off(watch, kernels, clock):
    kernels["page"] = {"connections": 0, "execution_state": "busy"}
    watch.gone()
    clock[0] = voila_page.START_S - 1
    assert watch.gone() == []
    kernels["page"]["execution_state"] = "idle"  # the browser now loads the widgets
    assert watch.gone() == []
    clock[0] += voila_page.GRACE_S + 1
    assert watch.gone() == ["page"], "it was closed while its notebook ran"


@pytest.mark.slow
def test_an_address_with_a_token_logs_in_and_leads_to_the_address_without(tmp_path):
    (tmp_path / "notebooks").mkdir()
    server = Server(jupyter.studio_command, tmp_path)
    try:
        path = f"/files/notebooks/?a=1&token={TOKEN}&b=%20"
        connection = http.client.HTTPConnection(jupyter.LOOPBACK, server.port, timeout=20)
        connection.request("GET", path, headers={"Accept": "text/html"})
        reply = connection.getresponse()
        reply.read()
        assert reply.status == REDIRECT and reply.headers["Location"] == "/files/notebooks/?a=1&b=+"
        cookies = reply.headers.get_all("Set-Cookie")
        assert len(cookies) == 2 and any(c.startswith("_xsrf=") for c in cookies)
        connection.request("GET", f"//else.where/?token={TOKEN}", headers={"Accept": "text/html"})
        reply = connection.getresponse()
        reply.read()
        assert not reply.headers["Location"].startswith("//")
        connection.request("GET", f"/api/status?token={TOKEN}")  # no page: answered at once
        assert connection.getresponse().status == 200
    finally:
        server.close()
    assert TOKEN not in (tmp_path / "server.log").read_text()


def test_a_port_that_is_taken_is_refused_with_one_line_before_an_address_is_printed(
    capsys, monkeypatch
):
    import socket

    monkeypatch.setattr(jupyter.os, "execvpe", lambda *how: pytest.fail("a server was started"))
    with socket.socket() as other:
        other.bind((jupyter.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        for start in (jupyter.start_studio, jupyter.start_lab):
            with pytest.raises(ParameterError, match=f"127.0.0.1:{port}") as refusal:
                start(port=port, browser=False)
            assert "--port" in refusal.value.remedy
    assert capsys.readouterr().out == ""


def test_the_address_is_printed_when_it_can_be_opened():
    port = free_port()
    command = [sys.executable, "-m", "heygem.cli.main", "studio", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--no-browser"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            address = server.stdout.readline().strip()
            assert address.startswith(f"http://127.0.0.1:{port}/voila/render/notebooks/")
            parts = urlsplit(address)
            page = f"{parts.path}?{parts.query}"
            status, headers, _ = ask(parts.port, "GET", page, Accept="text/html")
            assert status == REDIRECT
            assert headers["Location"].endswith(".ipynb")  # logged in, no token, no login
        finally:
            server.terminate()


def test_no_file_of_a_page_names_another_host():
    templates = PROJECT / "heygem" / "server" / "jupyter_data"
    pages = [*templates.rglob("*.*"), *(PROJECT / "heygem" / "studio" / "static").iterdir()]
    for path in pages:
        hosts = set(re.findall(r"https?://([\w.-]+)", path.read_text(encoding="utf-8")))
        assert hosts <= {"www.w3.org"}, path  # names of XML, never requested


@pytest.mark.parametrize(
    ("name", "lang", "title"),
    [
        ("04_studio", "zh", "HeyGem 工作室"),
        ("02_tuning", "zh", "调参 – HeyGem"),
        ("02_tuning", "", "Tuning – HeyGem"),
    ],
)
def test_a_page_has_its_own_title_in_the_language_of_its_notebook(name, lang, title, monkeypatch):
    monkeypatch.delenv("HEYGEM_LANG", raising=False)
    cell = nbformat.v4.new_code_cell(f'folder = "x"\nlang = "{lang}"  # of the page')
    cell.metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    request = SimpleNamespace(path=f"/voila/render/notebooks/{name}.ipynb")
    voila_page.prepare_page(SimpleNamespace(xsrf_token=b"", request=request), notebook, ".")
    page = notebook.metadata["heygem_page"]
    assert (page["title"], page["lang"]) == (title, lang or "en")
    assert page["intro"] and page["page_lost"]


@pytest.mark.parametrize(
    "name", ["01_preview", "02_tuning", "03_finetune", "04_studio", "20_compare", "30_trace"]
)
def test_a_page_waits_for_no_cell_that_is_for_readers(name):
    """Those print, or wait for the page's results: a page is shown when its last cell has run."""
    notebook = nbformat.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4)
    request = SimpleNamespace(path=f"/voila/render/notebooks/{name}.ipynb")
    voila_page.prepare_page(SimpleNamespace(request=request, xsrf_token=""), notebook, "")
    run = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "wait(" not in run and "print(" not in run and "display(" not in run
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "skip-execution" not in last.metadata["tags"], "Voilà would show nothing"
    assert "page" in last.metadata["tags"] and notebook.metadata["heygem_page"]["title"]
