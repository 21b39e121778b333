"""Kernels of the studio's pages are forks of one process that has their modules loaded."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from heygem.server import preloaded_kernels
from heygem.server.preloaded_kernels import KernelHost, KernelRequest, PreloadedProvisioner
from heygem.studio.kernel_host import SourceFiles

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
TESTS = Path(__file__).parents[1]
WAIT_S = 60


def wait_for(what):
    deadline = time.monotonic() + WAIT_S
    while not (answer := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


@pytest.fixture
def host(monkeypatch):
    """A host without modules to load."""
    paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(preloaded_kernels, "HOST_MODULE", "helpers.small_kernel_host")
    host = KernelHost()
    yield host
    host.close()


def start(host, folder, **environment):
    folder.mkdir()
    kernel = host.fork(KernelRequest(["-f", "x.json"], environment, str(folder)))
    note = wait_for((folder / "started").exists) and json.loads((folder / "started").read_text())
    return kernel, note


def test_a_request_arrives_whole_whatever_its_environment_holds():
    one, other = socket.socketpair()
    request = KernelRequest(["-f", "é"], {"A": "x" * 100_000, "B": os.fsdecode(b"\xff")}, "/ 夹")
    request.write(one)
    assert KernelRequest.read(other) == request
    one.close()
    assert KernelRequest.read(other) is None
    other.close()


def test_a_kernel_gets_its_environment_and_ends_when_it_is_told(host, tmp_path):
    kernel, note = start(host, tmp_path / "one", QUERY_STRING="video=a b.mp4")
    assert note == {"environment": {"QUERY_STRING": "video=a b.mp4"}, "arguments": ["-f", "x.json"]}
    assert kernel.poll() is None
    kernel.terminate()
    assert kernel.wait() == 0 and kernel.poll() == 0
    kernel.kill()  # nobody is there any more


@pytest.mark.fault
def test_open_pages_outlive_the_host_and_the_next_page_gets_another(host, tmp_path):
    first, _ = start(host, tmp_path / "one")
    old = host.process.pid
    host.process.kill()
    host.process.wait()
    second, _ = start(host, tmp_path / "two")
    assert host.process.pid != old
    assert first.poll() is None and second.poll() is None
    for kernel in (first, second):
        kernel.kill()
        kernel.wait()


@pytest.mark.fault
def test_kernels_end_with_a_server_that_is_killed(host, tmp_path):
    """The server is a process of its own here."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from heygem.server import preloaded_kernels as p\n"
        "p.HOST_MODULE = 'helpers.small_kernel_host'\n"
        f"host = p.KernelHost(); kernel = host.fork(p.KernelRequest([], {{}}, {str(tmp_path)!r}))\n"
        "print(kernel.pid, host.process.pid, flush=True); time.sleep(600)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    processes = [int(word) for word in server.stdout.readline().split()]
    descriptors = [os.pidfd_open(process) for process in processes]
    server.kill()
    server.wait()
    server.stdout.close()
    for descriptor in descriptors:
        ended = preloaded_kernels.ForkedProcess(0, descriptor)
        wait_for(lambda ended=ended: ended.poll() == 0)
        ended.wait()


def test_a_host_that_cannot_load_its_modules_leaves_kernels_to_jupyter(monkeypatch, tmp_path):
    monkeypatch.setattr(preloaded_kernels, "HOST_MODULE", "helpers.no_such_module")
    host = KernelHost()
    request = KernelRequest([], {}, str(tmp_path))
    assert host.fork(request) is None
    assert host.process.poll() is not None
    assert host.fork(request) is None, "it is not started again and again"
    host.close()


def test_a_changed_source_file_is_noticed(tmp_path, monkeypatch):
    file = tmp_path / "module.py"
    file.write_text("")
    module = type(sys)("heygem.edited")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "heygem.edited", module)
    files = SourceFiles()
    assert not files.changed()
    os.utime(file, ns=(0, 1))
    assert files.changed()


@pytest.fixture
def installed(monkeypatch):
    """The host as the studio's server starts it."""
    factory = KernelProvisionerFactory.instance()
    monkeypatch.setattr(factory, "provisioners", dict(factory.provisioners))
    preloaded_kernels.install()
    yield PreloadedProvisioner.host
    PreloadedProvisioner.host.close()
    PreloadedProvisioner.host = None
    factory.default_provisioner_name = "local-provisioner"


@pytest.mark.slow
def test_a_page_finds_its_modules_loaded_and_its_widgets_can_talk(installed, tmp_path):
    code = (
        "import os, sys, comm, threading; assert 'heygem.studio.pages.tuning' in sys.modules\n"
        "assert 'jupyter.widget.control' in comm.get_comm_manager().targets\n"
        f"assert os.getcwd() == {str(tmp_path)!r} and os.environ['QUERY_STRING'] == 'a=1'\n"
        "assert os.getsid(0) == os.getpid()"
    )

    async def run():
        manager = AsyncKernelManager()
        environment = {**os.environ, "QUERY_STRING": "a=1"}
        await manager.start_kernel(cwd=str(tmp_path), env=environment)
        assert isinstance(manager.provisioner, PreloadedProvisioner)
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=WAIT_S)
        process = manager.provisioner.process
        replies = [await client.execute_interactive(code)]
        running = asyncio.ensure_future(client.execute_interactive("import time; time.sleep(600)"))
        await asyncio.sleep(0.2)
        await manager.interrupt_kernel()
        replies.append(await running)
        client.stop_channels()
        await manager.shutdown_kernel()
        return replies, process

    (first, second), process = asyncio.run(run())
    assert first["content"]["status"] == "ok", first["content"]
    assert second["content"]["ename"] == "KeyboardInterrupt"
    assert isinstance(process, preloaded_kernels.ForkedProcess) and process.poll() == 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
        pytest.fail("the kernel still runs")
