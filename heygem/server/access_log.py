"""The service's log of requests."""

import logging

from tornado import web

log = logging.getLogger(__name__)


def log_request(handler: web.RequestHandler) -> None:
    """Log a request without its query: that of a log-in carries a code of the hub."""
    status, request = handler.get_status(), handler.request
    level = logging.INFO if status < 400 else logging.WARNING
    level = logging.ERROR if status >= 500 else level
    milliseconds = 1000 * request.request_time()
    facts = (status, request.method, request.path, request.remote_ip, milliseconds)
    log.log(level, "%d %s %s (%s) %.1f ms", *facts)
