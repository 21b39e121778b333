"""Signed messages to an address of the owner's choice."""

import base64
import hashlib
import hmac
import socket
import urllib.error

import pytest
from helpers.webhook import listening

from heygem.core import webhook
from heygem.core.errors import ParameterError


def test_a_receiver_can_check_the_signature():
    key = b"0123456789abcdef"
    with listening() as (address, received):
        for secret in (key.decode(), "whsec_" + base64.b64encode(key).decode()):
            webhook.post(address, b'{"a": 1}', secret=secret)
        webhook.post(address, b"{}")
    for headers, body in received[:2]:
        headers = {name.lower(): value for name, value in headers.items()}
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    ids = [headers.get("Webhook-Id") or headers.get("webhook-id") for headers, _ in received]
    assert len(set(ids[:2])) == 2 and ids[2] is None
    with pytest.raises(ParameterError, match="base64"):
        webhook.signed_headers(b"", "whsec_!")


@pytest.mark.slow
def test_it_is_tried_again_where_that_can_help_and_goes_nowhere_else():
    waits = []
    with listening(503, 429) as (address, received):
        webhook.post(address, b"{}", waits_s=(1, 4), sleep=waits.append)
        assert len(received) == 3 and waits == [1, 4]
    for status in (400, 302):
        with listening(status) as (address, received):
            with pytest.raises(urllib.error.HTTPError) as refused:
                webhook.post(address, b"{}", waits_s=(1, 4), sleep=waits.append)
            assert len(received) == 1 and webhook.reason(refused.value) == f"HTTP {status}"
    assert waits == [1, 4]
    with pytest.raises(OSError):
        webhook.post(address, b"{}", waits_s=(0,), sleep=waits.append)
    assert waits == [1, 4, 0]


@pytest.mark.parametrize(
    ("address", "resolved", "allowed"),
    [
        ("https://example.org/x", "203.0.113.7", True),
        ("http://chat.internal/x", "10.1.2.3", True),
        ("http://localhost:9/x", "127.0.0.1", True),
        ("http://example.org/x", "93.184.216.34", False),
        ("http://[2606:2800:220:1::1]/x", "2606:2800:220:1::1", False),
        ("ftp://example.org/x", "10.1.2.3", False),
        ("https:///x", "10.1.2.3", False),
    ],
)
def test_plain_http_stays_on_private_networks(address, resolved, allowed, monkeypatch):
    def resolve(host, port):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (resolved, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    if allowed:
        return webhook.require_address(address)
    with pytest.raises(ParameterError, match="https://"):
        webhook.require_address(address)
