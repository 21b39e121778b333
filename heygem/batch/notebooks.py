"""Run notebooks with Papermill, and set up and display for the notebooks themselves.

Papermill only warns about unknown parameters, and a killed kernel leaves a notebook whose cells all
look completed. Therefore parameters are validated before a kernel starts, and success is read from
the record that the batch writes, not from the notebook.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from heygem.batch import notebook_parameters
from heygem.config import capabilities
from heygem.config.params import Params
from heygem.core import disk, interrupts, logs
from heygem.core.error_texts import localized
from heygem.core.errors import Cancelled, HeygemError, InputError, ParameterError
from heygem.core.files import read_json, safe_name, write_json
from heygem.core.i18n import language, translator
from heygem.core.leftovers import temporary_folder
from heygem.core.own_files import OwnFiles
from heygem.core.slow_imports import without_address_grammar
from heygem.core.types import PathLike

if TYPE_CHECKING:
    from heygem.batch.runner import Report

RUN_FOLDER = "HEYGEM_RUN_FOLDER"  # variable that names the run's folder to the notebook
RUN_NOTEBOOK = "HEYGEM_RUN_NOTEBOOK"  # likewise the notebook's file name
RECORD = "batch.json"


@dataclass(frozen=True)
class Execution:
    """An executed notebook.

    Attributes
    ----------
    notebook : Path
        With its outputs.
    record : dict
        What the notebook's batch wrote; see `heygem.batch.runner.summary`.
    """

    notebook: Path
    record: dict[str, Any]


def root() -> Path:
    """The project's folder: where notebooks/, params/ and samples/ are."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / "notebooks").is_dir():
        raise InputError(
            "the notebooks are not beside the package",
            seen=folder,
            remedy="install from a checkout: pip install -e .",
        )
    return folder


def enter(**old_names: str) -> None:
    """Set up a notebook, in JupyterLab and Papermill alike; its first cell calls this.

    Relative paths are relative to the project's folder; a HeygemError is shown without traceback;
    parameters that Papermill injects are checked (see `heygem.batch.notebook_parameters`); output
    of compiled libraries on file descriptor 2 goes to the log.

    Parameters
    ----------
    old_names : str
        Parameters that were renamed: current name by old name, `look="save_visuals"`.
    """
    if Path.cwd() == root() / "notebooks":
        os.chdir(root())
    logs.start_log(show_warnings=True)
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((HeygemError,), _show_error)
        notebook_parameters.install(shell, old_names)
    if hasattr(sys.stderr, "watch_fd_thread"):  # in a kernel, Python's own stderr does not use fd 2
        with contextlib.suppress(OSError):
            log = logs.open_library_log()
            os.dup2(log, 2)
            os.close(log)


def _show_error(shell, kind, error, trace, tb_offset=None) -> list[str]:
    """Show an error without its traceback; Papermill still sees it. Signature set by IPython."""
    lang = language()
    translate = translator(lang)
    rows = ((translate("error_seen"), error.seen), (translate("error_remedy"), error.remedy))
    lines = [f"{kind.__name__}: {localized(str(error.what), lang)}"]
    lines += [f"{k}: {localized(str(text), lang)}" for k, text in rows if text is not None]
    shell._showtraceback(kind, error, lines)
    return lines


def record_path() -> Path | None:
    """Where a notebook's batch writes its record; None outside `heygem run`."""
    folder = os.environ.get(RUN_FOLDER)
    return Path(folder) / RECORD if folder else None


def save_record(report: "Report", params: Params) -> None:
    """Write the record that `heygem run` reads; nothing outside of it."""
    from heygem.batch.runner import summary

    path = record_path()
    if path is not None:
        write_json(path.parent, summary(report, params), name=path.name)


def notebook_copies(params: Params) -> list[Path]:
    """Where `heygem run` puts a copy of the executed batch notebook; nothing outside of it."""
    notebook = os.environ.get(RUN_NOTEBOOK)
    return [Path(params.inputs.output) / notebook] if notebook else []


def find(name: str) -> Path:
    """A notebook by path, or by its name in notebooks/.

    Raises
    ------
    InputError
        There is no such notebook, or this build leaves it out.
    """
    for candidate in (Path(name), root() / "notebooks" / f"{name}.ipynb"):
        if candidate.suffix == ".ipynb" and candidate.is_file():
            capabilities.require_path(f"notebooks/{candidate.name}")
            return candidate
    names = ", ".join(sorted(path.stem for path in (root() / "notebooks").glob("*.ipynb")))
    raise InputError("no such notebook", seen=name, remedy=f"known: {names}")


def execute(
    notebook: Path, params: Params, *, name: str = "run", stream: IO[str] | None = None
) -> Execution:
    """Run a notebook with a recipe; the executed notebook is saved in `runs/<time>-<name>/`.

    A copy is put beside the results, unless a file of the user has its name there.

    Parameters
    ----------
    notebook : path
        Has a cell tagged `parameters`.
    params : Params
    name : str
        Part of the folder's name.
    stream : text stream, optional
        Receives the kernel's stderr live; progress bars are drawn there.

    Raises
    ------
    HeygemError
        The notebook failed, or left no record.
    Cancelled
        SIGINT or SIGTERM ended it before it could write its record.
    """
    with without_address_grammar():
        import papermill
        from papermill.exceptions import PapermillExecutionError

    folder = _new_folder(name)
    target = folder / notebook.name
    with _kernel(folder, notebook.name) as (manager, stopped):
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
            raise _execution_error(error, target) from error
        except Exception as error:  # a dead kernel, a full disk: nbclient has no common base class
            if stopped.is_set():
                raise Cancelled("stopped on request", remedy=f"notebook: {target}") from error
            raise HeygemError(
                f"the notebook stopped ({type(error).__name__})", seen=error, remedy=f"see {target}"
            ) from error
    record = read_json(folder, name=RECORD)
    if record is None:
        raise HeygemError("the notebook left no record of its run", remedy=f"see {target}")
    with contextlib.suppress(HeygemError):
        _copy_beside_results(target, Path(params.inputs.output))
    return Execution(target, record)


def _copy_beside_results(notebook: Path, folder: Path) -> None:
    """Copy an executed notebook into the folder of the results, with the links that lead there."""
    if not folder.is_dir():
        return
    to_folder = quote(os.fsencode(os.path.relpath(folder, notebook.parent)))
    text = notebook.read_text("utf-8")
    text = text.replace(f'href=\\"{to_folder}/', 'href=\\"')  # JSON escapes the quote
    with OwnFiles(folder).writing(notebook.name) as staged:
        staged.write_text(text, encoding="utf-8")


def _parameters(notebook: Path, params: Params) -> dict[str, Any]:
    """The recipe's values of the notebook's parameters, and every other one that is not default.

    Papermill injects the others too, so the notebook's own validation reports them.
    """
    names, defaults = _parameter_names(notebook), Params().tree()
    return {k: v for k, v in params.tree().items() if k in names or v != defaults[k]}


def _parameter_names(notebook: Path) -> set[str]:
    """Names assigned in the cell tagged `parameters`."""
    with without_address_grammar():
        import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [c.source for c in cells if "parameters" in c.metadata.get("tags", ())]
    return {name for source in tagged for name in notebook_parameters.default_parameters(source)}


def _execution_error(error, target: Path) -> HeygemError:
    """A PapermillExecutionError as the HeygemError that caused it."""
    if error.ename == "KeyboardInterrupt":
        return Cancelled("stopped on request", remedy=f"notebook: {target}")
    kinds = {"ParameterError": ParameterError, "InputError": InputError}
    kind = kinds.get(error.ename, HeygemError)
    what = error.evalue if error.ename in kinds else f"{error.ename}: {error.evalue}"
    return kind(what, remedy=f"notebook: {target}")


def _new_folder(name: str) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{i}" for i in range(2, 100))):
        folder = Path("runs").absolute() / f"{stamp}-{safe_name(name)}{suffix}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            what = "cannot make a folder for the run in runs/ of the current folder"
            raise disk.write_error(error, folder, what=what) from error
    raise HeygemError("no free name for the run's folder", seen=folder)


@contextlib.contextmanager
def _kernel(folder: Path, notebook: str) -> Iterator[tuple[Any, threading.Event]]:
    """Manager of a kernel of this Python, reached through local sockets instead of TCP ports.

    Ctrl-C is forwarded to it, so that the batch inside stops cleanly and writes its record; the
    event says that it was.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync

    class Manager(AsyncKernelManager):
        @property
        def kernel_spec(self):
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    variables = {RUN_FOLDER: str(folder), RUN_NOTEBOOK: notebook}
    previous = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    # Socket paths are limited to 107 characters.
    with temporary_folder() as sockets:
        manager = Manager(kernel_name="python3", transport="ipc", ip=f"{sockets}/k")
        try:
            with _forward_signals(manager) as stopped:
                yield manager, stopped
        finally:
            if manager.has_kernel:  # Papermill shuts down only kernels that it started
                run_sync(manager.shutdown_kernel)(now=True)
            for name, value in previous.items():
                os.environ.pop(name)
                os.environ.update({name: value} if value is not None else {})


@contextlib.contextmanager
def _forward_signals(manager: Any) -> Iterator[threading.Event]:
    """Stop the kernel at the first SIGINT or SIGTERM; a second one stops heygem.

    The event is set at the first signal.
    """
    stopped, ended = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    stops = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in stops}

    def forward(number, _):
        for each, handler in handlers.items():
            signal.signal(each, handler)
        stopped.set()
        process = getattr(manager.provisioner, "process", None)
        if process is None:
            raise KeyboardInterrupt
        threading.Thread(target=_stop_kernel, args=(process, ended), daemon=True).start()

    for number in stops:
        signal.signal(number, forward)
    try:
        yield stopped
    finally:
        ended.set()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _stop_kernel(process: "subprocess.Popen[bytes]", ended: threading.Event) -> None:
    """Interrupt a kernel, again if it ignores this between two cells, and kill it in the end.

    `ended` is set when the notebook has ended.
    """
    for wait_s in (interrupts.GRACE_S, interrupts.LIMIT_S - interrupts.GRACE_S):
        process.send_signal(signal.SIGINT)
        if ended.wait(wait_s):
            return
    process.kill()


def show(report: "Report") -> None:
    """Display the report of a batch at the end of a notebook."""
    from IPython.display import HTML, display

    from heygem.batch.results.report import to_html

    display(HTML(to_html(report, relative_link)))


def relative_link(path: PathLike) -> str:
    """URL of a file relative to the executed notebook, which is in the run's folder."""
    base = os.environ.get(RUN_FOLDER) or root() / "notebooks"
    return quote(os.fsencode(os.path.relpath(path, base)))
