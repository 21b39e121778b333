"""A process that has the pages' modules loaded and forks a kernel for each page that is opened.

    python -P -m heygem.studio.kernel_host CONNECTION SERVER

Importing what a page needs takes longer than drawing its first preview, and a hundred megabytes. A
fork has all of it at once and shares the memory. Requests come from the Jupyter server over the
socket whose descriptor is CONNECTION; see `heygem.server.preloaded_kernels`. SERVER is a descriptor
of the server's process, with which the kernels end.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading

from heygem.core.errors import HeygemError
from heygem.pipeline import preload
from heygem.server.preloaded_kernels import KernelRequest, send_process

PARENT_VARIABLE = "JPY_PARENT_PID"
PAGES = ("preview", "tuning", "studio", "finetune", "compare", "trace")
#: What a notebook and its first preview import besides.
LATER = (
    "ai_edge_litert.interpreter", "c2pa", "pocketsphinx", "safetensors.numpy",
    "heygem.batch.item.manifest", "heygem.experiments.figures",
    "heygem.face.attention_mesh", "heygem.face.kernels", *preload.MODULES,
)  # fmt: skip


def load_modules() -> None:
    """Import what pages need, and register the widgets' messages as a kernel that imports them."""
    os.environ[PARENT_VARIABLE] = "0"  # read at the import: a kernel does not end with its parent
    for name in ("ipykernel.kernelapp", *(f"heygem.studio.pages.{page}" for page in PAGES), *LATER):
        with contextlib.suppress(ImportError):  # a part that this build leaves out
            importlib.import_module(name)
    import ipywidgets
    import numpy as np

    from heygem.audio import embedding

    ipywidgets.register_comm_target()
    with contextlib.suppress(HeygemError):  # the page says that the weights are missing
        embedding.embed(np.zeros(1600, np.float32), rows=10)  # keeps the speech encoder's weights
    gc.collect()
    gc.freeze()  # the collector would write to every object, and with that copy its page


class SourceFiles:
    """Notices that the package's files changed: a kernel must run what is in them."""

    def __init__(self) -> None:
        self._seen = self._look()

    @staticmethod
    def _look() -> dict[str, int]:
        modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "heygem"]
        paths = [path for module in modules if (path := getattr(module, "__file__", None))]
        return {path: os.stat(path).st_mtime_ns for path in paths if os.path.exists(path)}

    def changed(self) -> bool:
        """Whether a file differs from when this object was made."""
        return self._look() != self._seen


def wait_for_request(connection: socket.socket) -> KernelRequest | None:
    """Fork for each request; returns it in the fork, and None here once the server has ended."""
    files = SourceFiles()
    while True:
        select.select([connection], [], [])
        if files.changed():  # the request stays in the socket for the process that follows
            os.execv(sys.executable, [sys.executable, "-P", "-m", __spec__.name, *sys.argv[1:]])
        request = KernelRequest.read(connection)
        if request is None:
            return None
        process = os.fork()
        if process == 0:
            connection.close()
            return request
        send_process(connection, process)


def end_with(server: int) -> None:
    """End this process, whatever it does, when the server's has ended."""
    select.select([server], [], [])
    os._exit(1)


def become_kernel(request: KernelRequest, server: int) -> None:
    """Turn this process, a fork, into the kernel; returns when the kernel has ended."""
    os.setsid()  # signals for the kernel reach what it starts, and those of a terminal do not
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request.environment)
    threading.Thread(target=end_with, args=[server], daemon=True).start()
    os.chdir(request.folder)
    sys.argv = ["ipykernel_launcher", *request.arguments]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def main() -> None:
    """Serve the socket until the server has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the server's terminal: it decides
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # kernels that end leave no zombies
    connection, server = map(int, sys.argv[1:3])
    for descriptor in (connection, server):
        os.set_inheritable(descriptor, True)  # for the process that follows when files change
    load_modules()
    if threading.active_count() > 1:  # a fork would lack them, with the locks that they hold
        sys.exit("a module started a thread; kernels are started one by one")
    request = wait_for_request(socket.socket(fileno=connection))
    if request is not None:
        become_kernel(request, server)


if __name__ == "__main__":
    main()
