"""The source videos of results, for the pages: they may lie anywhere that the user can read.

Jupyter serves files below one folder, and follows no link out of it. ``GET heygem/sources/FOLDER``
answers with the source video of the result whose manifest is in that folder, below the served one.
No path of a file is taken from a request; see `heygem.batch.results.source` for what guards a path
that a manifest names.
"""

import asyncio
from pathlib import Path

from jupyter_server.utils import url_path_join
from tornado import web

from heygem.batch.item.manifest import is_manifest
from heygem.batch.results.source import recorded_source
from heygem.core.errors import HeygemError
from heygem.core.files import read_json
from heygem.server import SOURCES
from heygem.server.json_errors import MissingError
from heygem.server.served_file import ServedFile


class SourceHandler(ServedFile):
    """Sends the source of a result."""

    def initialize(self, root: Path) -> None:  # type: ignore[override]
        super().initialize()
        self._served = root

    @web.authenticated
    async def get(self, folder: str, include_body: bool = True) -> None:  # type: ignore[override]
        """The video, or the part that `Range` names."""
        self.check_xsrf_cookie()
        try:
            path, media_type = await asyncio.to_thread(self._source, folder)
        except MissingError:
            raise
        except HeygemError as e:  # gone, another one, or no video: all the same to who asks
            raise MissingError("the source of this result cannot be shown") from e
        await self.send(path, include_body, media_type=media_type)

    def _source(self, folder: str) -> tuple[Path, str]:
        root = self._served.resolve()
        try:
            details = (root / folder).resolve()
        except (OSError, ValueError):  # such as a null byte
            details = root.parent
        inside = details.is_relative_to(root)
        if not inside or any(part.startswith(".") for part in details.relative_to(root).parts):
            raise MissingError("there is no such result", seen=folder)
        manifest = read_json(details)
        if manifest is None or not is_manifest(manifest) or manifest["status"] != "done":
            raise MissingError("there is no such result", seen=folder)
        return recorded_source(manifest)


def handlers(base_url: str, root: Path) -> list[tuple]:
    """The route, for `tornado.web.Application.add_handlers`."""
    return [(url_path_join(base_url, SOURCES) + "/(.+)", SourceHandler, {"root": root})]
