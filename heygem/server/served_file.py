"""One file over HTTP to whoever is logged in: playable from any position, nothing in it is run."""

import os
from pathlib import Path
from typing import Any

from tornado import web

from heygem.server.json_errors import JsonErrors


class ServedFile(JsonErrors, web.StaticFileHandler):
    """Sends the file that a request turns out to mean, or the part of it that `Range` names."""

    def initialize(self) -> None:  # type: ignore[override]
        self.default_filename = None
        self._media_type = ""

    async def send(self, path: Path, include_body: bool, *, media_type: str = "") -> None:
        """Answer with a file; its media type by default as its name says."""
        self.root, self._media_type = str(path.parent), media_type
        await web.StaticFileHandler.get(self, path.name, include_body)

    def parse_url_path(self, url_path: str) -> str:
        """The name of the file, as it is."""
        return url_path

    def get_content_type(self) -> str:
        """The media type."""
        return self._media_type or super().get_content_type()

    def compute_etag(self) -> str | None:
        """Of size and time: reading a long video for its hash would take seconds."""
        status = os.stat(str(self.absolute_path))
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'

    def set_extra_headers(self, path: str) -> None:
        """A page of this server may show the video; nothing in it is run."""
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")

    def head(self, path: str) -> Any:
        """What `get` would answer, without the file."""
        return self.get(path, include_body=False)
