"""The files of a Jupyter server, with heygem's notebooks in the language of the interface."""

import functools
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from heygem.core.i18n import LANGUAGES
from heygem.core.notebook_texts import localize, notebook_language

KERNEL = "python3"
NAME_ONLY = {"name": "python"}  # of a notebook's `language_info`, as in the files of heygem


class Contents(AsyncLargeFileManager):
    """Jupyter's own; the Markdown of heygem's notebooks is translated on its way to the page.

    What is saved is English again, so that a notebook reads the same under any language. A notebook
    that names its language only also gets what a kernel says about it: JupyterLab would add that
    when the kernel starts, and the notebook would count as changed before anybody touched it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._completed: set[str] = set()  # paths of notebooks whose file names the language only

    async def get(self, path: str, content: bool = True, *arguments: Any, **options: Any) -> Any:
        """A file or folder, as Jupyter describes it."""
        model = await super().get(path, content, *arguments, **options)
        if content and model["type"] == "notebook":
            notebook = model["content"]
            localize(notebook, notebook_language(notebook))
            self._completed.discard(path)
            if notebook["metadata"].get("language_info") == NAME_ONLY and _is_python(notebook):
                notebook["metadata"]["language_info"] = dict(kernel_language())
                self._completed.add(path)
        return model

    async def save(self, model: Any, path: str = "") -> Any:
        """Save a file; returns its description without content."""
        if model.get("type") == "notebook" and model.get("content"):
            self.as_stored(model["content"], path)
        return await super().save(model, path)

    def as_stored(self, notebook: Any, path: str) -> Any:
        """A notebook that `get` has given, as its file holds it, in place; returns it."""
        localize(notebook, LANGUAGES[0])
        metadata = notebook["metadata"]
        if path in self._completed and metadata.get("language_info") == kernel_language():
            metadata["language_info"] = dict(NAME_ONLY)
        return notebook


def _is_python(notebook: Any) -> bool:
    return bool(notebook["metadata"].get("kernelspec", {}).get("name") == KERNEL)


@functools.cache
def kernel_language() -> dict[str, Any]:
    """What a kernel of this Python says about its language."""
    from ipykernel.ipkernel import IPythonKernel

    return dict(IPythonKernel.language_info)
