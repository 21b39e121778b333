"""Notebooks as batch jobs: Papermill with checked parameters, and what they show.

Papermill only warns about unknown parameters, and a killed kernel leaves a notebook whose every
cell says completed. So parameters pass our schema before a kernel starts, and success is read from
the record that the batch writes, never from the notebook.
"""

import ast
import contextlib
import os
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from heygem.config import capabilities
from heygem.config.params import Params
from heygem.core import logs
from heygem.core.errors import Cancelled, HeygemError, InputError, ParameterError
from heygem.core.files import read_json, safe_name

RUN_FOLDER = "HEYGEM_RUN_FOLDER"  # tells a notebook where its run is kept
RECORD = "batch.json"


@dataclass(frozen=True)
class Execution:
    """An executed notebook.

    Attributes
    ----------
    notebook : Path
        With its outputs.
    record : dict
        What `heygem.batch.runner` wrote; see `heygem.batch.runner.summary`.
    """

    notebook: Path
    record: dict


def root() -> Path:
    """The project's folder: where notebooks/, params/ and samples/ are."""
    found = Path(__file__).resolve().parents[2]
    if not (found / "notebooks").is_dir():
        raise InputError(
            "the notebooks are not beside the package",
            seen=found,
            remedy="install from a checkout: pip install -e .",
        )
    return found


def enter():
    """Begin a notebook: the same paths in JupyterLab and Papermill, and errors in plain words.

    Relative paths are taken from the project's folder; an error of ours is shown as what, seen and
    remedy instead of the calls that led to it; what compiled libraries print by themselves goes to
    the log.
    """
    if Path.cwd() == root() / "notebooks":
        os.chdir(root())
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((HeygemError,), _said)
    if hasattr(sys.stderr, "watch_fd_thread"):  # a kernel's: Python's own words do not take fd 2
        with contextlib.suppress(OSError):
            log = os.open(logs.log_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 2)
            os.close(log)


def _said(shell, kind, error, trace, tb_offset=None):
    """Show an error without its traceback; for Papermill it is one like any other."""
    rows = (("seen", error.seen), ("what to do", error.remedy))
    lines = [f"{kind.__name__}: {error.what}", *(f"{k}: {v}" for k, v in rows if v is not None)]
    shell._showtraceback(kind, error, lines)
    return lines


def record_path() -> Path | None:
    """Where a notebook's batch writes its record; None outside `heygem run`."""
    folder = os.environ.get(RUN_FOLDER)
    return Path(folder) / RECORD if folder else None


def find(name: str) -> Path:
    """A notebook by path, or by its name in notebooks/."""
    for candidate in (Path(name), root() / "notebooks" / f"{name}.ipynb"):
        if candidate.suffix == ".ipynb" and candidate.is_file():
            capabilities.require_path(f"notebooks/{candidate.name}")
            return candidate
    known = ", ".join(sorted(path.stem for path in (root() / "notebooks").glob("*.ipynb")))
    raise InputError("no such notebook", seen=name, remedy=f"known: {known}")


def execute(notebook: Path, params: Params, *, name: str = "run", stream=None) -> Execution:
    """Run a notebook with a recipe; it is kept in `runs/<time>-<name>/`.

    Parameters
    ----------
    notebook : path
        Has a cell tagged `parameters`.
    params : Params
    name : str
        For the folder.
    stream : text stream, optional
        Receives the kernel's stderr as it comes, which is where progress is shown.

    Raises
    ------
    HeygemError
        The notebook did not come to its end, or left no record.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    folder = _new_folder(name)
    target = folder / notebook.name
    with _kernel(folder) as manager:
        try:
            papermill.execute_notebook(
                str(notebook),
                # Papermill formats paths as templates.
                str(target).replace("{", "{{").replace("}", "}}"),
                parameters=_parameters(notebook, params),
                kernel_name="python3",
                language="python",
                km=manager,
                progress_bar=False,
                store_widget_state=False,
                stderr_file=stream,
            )
        except PapermillExecutionError as error:
            raise _failed(error, target) from error
        except Exception as error:  # a dead kernel, a full disk: nbclient has no common root
            raise HeygemError(
                f"the notebook stopped ({type(error).__name__})", seen=error, remedy=f"see {target}"
            ) from error
    record = read_json(folder, name=RECORD)
    if record is None:
        raise HeygemError("the notebook left no record of its run", remedy=f"see {target}")
    return Execution(target, record)


def _parameters(notebook, params):
    """What the notebook asks for, and whatever else the recipe sets: that is not to be ignored."""
    asked, usual = _asked(notebook), Params().tree()
    return {k: v for k, v in params.tree().items() if k in asked or v != usual[k]}


def _asked(notebook):
    """Names that the cell tagged `parameters` sets : set of str."""
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [c.source for c in cells if "parameters" in c.metadata.get("tags", ())]
    nodes = [node for source in tagged for node in ast.walk(ast.parse(source))]
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _failed(error, target):
    if error.ename == "KeyboardInterrupt":
        return Cancelled("stopped on request", remedy=f"notebook: {target}")
    kinds = {"ParameterError": ParameterError, "InputError": InputError}
    kind = kinds.get(error.ename, HeygemError)
    what = error.evalue if error.ename in kinds else f"{error.ename}: {error.evalue}"
    return kind(what, remedy=f"notebook: {target}")


def _new_folder(name):
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{i}" for i in range(2, 100))):
        folder = Path("runs").absolute() / f"{stamp}-{safe_name(name)}{suffix}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise HeygemError(
                f"cannot make a folder for the run ({error.strerror})",
                seen=folder,
                remedy="start the command in a folder that can be written",
            ) from error
    raise HeygemError("no free name for the run's folder", seen=folder)


@contextlib.contextmanager
def _kernel(folder):
    """A kernel of this very Python, reached through local sockets instead of TCP ports.

    Ctrl-C is passed on to it, so that the batch inside stops cleanly and writes its record.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync

    class Manager(AsyncKernelManager):
        @property
        def kernel_spec(self):
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    before = os.environ.get(RUN_FOLDER)
    os.environ[RUN_FOLDER] = str(folder)
    # Socket names must be short: 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="hg-") as sockets:
        manager = Manager(kernel_name="python3", transport="ipc", ip=f"{sockets}/k")
        try:
            with _passed_on(manager):
                yield manager
        finally:
            if manager.has_kernel:  # papermill ends only kernels that it started by itself
                run_sync(manager.shutdown_kernel)(now=True)
            if before is None:
                del os.environ[RUN_FOLDER]
            else:
                os.environ[RUN_FOLDER] = before


@contextlib.contextmanager
def _passed_on(manager):
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM)
    usual = {number: signal.getsignal(number) for number in stops}

    def pass_on(number, _):
        for each, handler in usual.items():  # a second one is for ourselves
            signal.signal(each, handler)
        process = getattr(manager.provisioner, "process", None)
        if process is None:
            raise KeyboardInterrupt
        process.send_signal(signal.SIGINT)

    for number in stops:
        signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def show(report):
    """What a batch made, for the end of a notebook: see `heygem.batch.report`."""
    from IPython.display import HTML, display

    from heygem.batch import report as batch_page

    display(HTML(batch_page.page(report, relative)))


def relative(path):
    """Link from the executed notebook, which lies in the run's folder, to a file."""
    from urllib.parse import quote

    base = os.environ.get(RUN_FOLDER) or root() / "notebooks"
    return quote(os.path.relpath(path, base).encode("utf-8", "surrogateescape"))
