"""Which notebooks JupyterLab may run when they are opened: those whose code is heygem's own.

Jupyter's trust is not enough for that. It decides whether stored outputs are shown; a notebook
without outputs counts as trusted, and is signed as such when it is saved, whatever its code does. A
notebook runs at open only if

- it lies in the folder `notebooks` of what `heygem lab` serves: elsewhere, modules beside it could
  stand in for heygem's own,
- its code is that of the notebook of the same name that this version of heygem comes with, and
- its parameters are the shipped ones, or plain values in a notebook that Jupyter has signed here.

Others are opened with their code folded, and run when the user says so.
"""

import ast
import hashlib
import importlib.resources
import json
from pathlib import PurePosixPath
from typing import Any

import nbformat
from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from nbformat.notebooknode import NotebookNode
from tornado import web

FOLDER = "notebooks"
_SHIPPED = "notebook_pages.json"  # beside this file


def shipped_pages() -> dict[str, dict[str, str]]:
    """Hashes of "code" and "parameters" of the shipped notebooks that are pages, by file name."""
    text = importlib.resources.files("heygem.server").joinpath(_SHIPPED).read_text("utf-8")
    return dict(json.loads(text))


def page_hashes(notebook: NotebookNode) -> dict[str, str]:
    """The hashes of a notebook's code and of its parameters, as in `shipped_pages`."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code = [cell.source for cell in cells if not _is_parameters(cell)]
    return {"code": _hash(code), "parameters": _hash([_parameters(notebook)])}


def may_run(notebook: NotebookNode, path: str, *, is_signed: bool) -> bool:
    """Whether a notebook may be run when it is opened.

    Parameters
    ----------
    notebook : NotebookNode
    path : str
        Its place below the served folder.
    is_signed : bool
        Whether its signature is one of this Jupyter installation.
    """
    folder, name = PurePosixPath(path).parent, PurePosixPath(path).name
    shipped, hashes = shipped_pages().get(name), page_hashes(notebook)
    if str(folder) != FOLDER or shipped is None or hashes["code"] != shipped["code"]:
        return False
    if hashes["parameters"] == shipped["parameters"]:
        return True
    return is_signed and _are_plain_values(_parameters(notebook))


def _is_parameters(cell: NotebookNode) -> bool:
    return "parameters" in cell.metadata.get("tags", ())


def _parameters(notebook: NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if _is_parameters(cell))


def _hash(sources: list[str]) -> str:
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _are_plain_values(source: str) -> bool:
    """Whether code does nothing but give plain values to names."""
    try:
        for statement in ast.parse(source).body:
            if not isinstance(statement, ast.Assign):
                return False
            if not all(isinstance(target, ast.Name) for target in statement.targets):
                return False
            ast.literal_eval(statement.value)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return False
    return True


class NotebookPageHandler(APIHandler):
    """Says whether the notebook at `path` may be run when it is opened."""

    @web.authenticated
    async def get(self) -> None:
        """Answer `{"may_run": bool}`; false for whatever cannot be read as a notebook."""
        path = self.get_query_argument("path", "").strip("/")
        manager = self.contents_manager  # ours: heygem.server.contents
        try:
            model = await ensure_async(manager.get(path, type="notebook", content=True))
            notebook = nbformat.from_dict(model["content"])
            is_signed = bool(manager.notary.check_signature(_as_signed(manager, notebook, path)))
            answer = may_run(notebook, path, is_signed=is_signed)
        except (web.HTTPError, OSError, ValueError, AttributeError, TypeError, KeyError):
            answer = False
        self.finish({"may_run": answer})


def _as_signed(manager: Any, notebook: NotebookNode, path: str) -> NotebookNode:
    """The notebook as its file holds it: without what the server adds and translates."""
    manager.as_stored(notebook, path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("trusted", None)
    return notebook


def handlers(base_url: str) -> list[tuple[str, Any]]:
    """The route, for `tornado.web.Application.add_handlers`."""
    return [(url_path_join(base_url, "heygem/api/notebook-page"), NotebookPageHandler)]
