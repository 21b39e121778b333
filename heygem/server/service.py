"""The queue's service on JupyterHub: it alone writes the queue, for users whom the hub names.

A studio sends files and jobs with the token that the hub gave to its server, and the hub says whose
it is; browsers come with JupyterHub's own login. The database, the inputs, the results and the
ledger belong to the service's account, so that no user's code gets to them but through here.
"""

import contextlib
import logging
import os
import urllib.parse

from jupyterhub.services.auth import HubOAuthCallbackHandler
from jupyterhub.utils import url_path_join
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback

from heygem.server import access_log
from heygem.server.served_queue import open_served
from heygem.server.service_api import InputHandler, JobHandler, JobsHandler, Service, UsageHandler
from heygem.server.service_pages import AgreementPage, ResultsPage, VideoHandler

CLEAN_EVERY_S = 3600.0
MAX_REQUEST_BYTES = 8 << 20  # of a table of jobs; files are streamed, see `InputHandler`


def make_app(service: Service, prefix: str) -> web.Application:
    """The application, below a prefix such as `/services/heygem/`."""
    shared = {"service": service}
    routes = [
        ("", ResultsPage),
        ("agreement", AgreementPage),
        ("results/([0-9a-zA-Z]+)/video", VideoHandler),
        ("api/inputs/([^/]+)", InputHandler),
        ("api/jobs", JobsHandler),
        ("api/jobs/([0-9a-zA-Z]+)", JobHandler),
        ("api/usage", UsageHandler),
    ]
    return web.Application(
        [
            *((url_path_join(prefix, route) + "/?", handler, shared) for route, handler in routes),
            (url_path_join(prefix, "oauth_callback"), HubOAuthCallbackHandler),
        ],
        cookie_secret=os.urandom(32),
        xsrf_cookies=True,
        log_function=access_log.log_request,
    )


def main() -> None:
    """Serve; started by the hub, which passes what it needs in the environment."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    os.umask(0o077)
    service = Service(open_served())
    address = urllib.parse.urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    app = make_app(service, os.environ["JUPYTERHUB_SERVICE_PREFIX"])
    # Requests come from the hub's own proxy, which appends the address of its peer.
    trusted = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]
    server = HTTPServer(
        app, xheaders=True, trusted_downstream=trusted, max_buffer_size=MAX_REQUEST_BYTES
    )
    server.listen(address.port or 80, address.hostname or "127.0.0.1")
    PeriodicCallback(service.clean, CLEAN_EVERY_S * 1000).start()
    with contextlib.suppress(KeyboardInterrupt):  # the hub's signal to end
        IOLoop.current().start()


if __name__ == "__main__":
    main()
