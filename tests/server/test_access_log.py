"""The service's log of requests holds no secrets."""

import logging
from types import SimpleNamespace

import pytest

pytest.importorskip("jupyterhub")

from heygem.server import service  # noqa: E402


def test_the_code_of_a_log_in_reaches_no_log(caplog):
    app = service.make_app(SimpleNamespace(), "/services/heygem/")
    request = SimpleNamespace(
        method="GET",
        path="/services/heygem/oauth_callback",
        uri="/services/heygem/oauth_callback?code=s3cret&state=x",
        remote_ip="127.0.0.1",
        request_time=lambda: 0.1,
    )
    handler = SimpleNamespace(
        request=request, get_status=lambda: 302, _request_summary=lambda: request.uri
    )
    handler.application = app
    with caplog.at_level(logging.INFO):
        app.log_request(handler)
    assert "302 GET /services/heygem/oauth_callback (127.0.0.1)" in caplog.text
    assert "s3cret" not in caplog.text
