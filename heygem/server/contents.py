"""The files of a Jupyter server, with heygem's notebooks in the language of the interface."""

from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from heygem.core.i18n import LANGUAGES
from heygem.core.notebook_texts import localize, notebook_language


class Contents(AsyncLargeFileManager):
    """Jupyter's own; the Markdown of heygem's notebooks is translated on its way to the page.

    What is saved is English again, so that a notebook reads the same under any language.
    """

    async def get(self, path: str, content: bool = True, *arguments: Any, **options: Any) -> Any:
        """A file or folder, as Jupyter describes it."""
        model = await super().get(path, content, *arguments, **options)
        if content and model["type"] == "notebook":
            localize(model["content"], notebook_language(model["content"]))
        return model

    async def save(self, model: Any, path: str = "") -> Any:
        """Save a file; returns its description without content."""
        if model.get("type") == "notebook" and model.get("content"):
            localize(model["content"], LANGUAGES[0])
        return await super().save(model, path)
