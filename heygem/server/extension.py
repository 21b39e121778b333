"""Jupyter server extension of the studio and the lab: addresses without a token, files, API.

An address with `?token=` logs the browser in. Left in the address bar, the token would appear in
the browser's history, in reports and in pictures of the screen. The browser is therefore sent to
the same address without it, once the login cookie is set.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule

from heygem.server import ADDRESS_VARIABLE, notebook_pages, sources, uploads
from heygem.server.api import handlers


class TokenInAddress(Matcher):
    """Matches pages that a browser requests with a token in their address."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """An empty dict where it matches, as tornado expects."""
        is_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        return {} if is_page and "token" in request.query_arguments else None


class WithoutToken(JupyterHandler):
    """Logs the browser in by its token, and redirects to the same address without it."""

    @allow_unauthenticated
    def get(self) -> None:
        """Redirect; where the token was wrong, the page itself asks for another."""
        _ = self.xsrf_token  # sets the cookie that the page's own requests need
        arguments = parse_qsl(self.request.query, keep_blank_values=True)
        query = urlencode([(name, value) for name, value in arguments if name != "token"])
        # One slash: two would be the address of another host.
        path = "/" + self.request.path.lstrip("/")
        self.redirect(path + (f"?{query}" if query else ""))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "heygem.server.extension"}]


def _load_jupyter_server_extension(server: Any) -> None:
    app, base_url = server.web_app, server.web_app.settings["base_url"]
    app.default_router.rules.insert(0, Rule(TokenInAddress(), WithoutToken))
    root = Path(server.root_dir)
    routes = notebook_pages.handlers(base_url) + uploads.handlers(base_url, root)
    routes += sources.handlers(base_url, root)
    app.add_handlers(".*$", routes + handlers.handlers(base_url, root))


async def _start_jupyter_server_extension(server: Any) -> None:
    """Print the address of the page; the server calls this once it listens."""
    address = os.environ.pop(ADDRESS_VARIABLE, None)
    if address:
        print(f"{address}?token={server.identity_provider.token}", flush=True)
