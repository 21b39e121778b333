"""Messages to an address that the owner of the installation has set: signed, tried again, no more.

Nothing leaves the machine unless such an address is set. A message goes to that address and to no
other (a redirection is not followed), over HTTPS; over plain HTTP only within this machine or a
private network, since anybody between could read it. Signatures follow Standard Webhooks
(https://www.standardwebhooks.com), for which receivers have libraries in most languages.
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from heygem.core.errors import ParameterError

WAITS_S = (1.0, 4.0)  # before the second and the third attempt
_BUSY = (408, 425, 429)  # of HTTP: another attempt may succeed, as for every 5xx
_PREFIX = "whsec_"  # of a secret in base64


def require_address(address: str) -> None:
    """Refuse what is no address, or would send a message readable through the internet.

    Raises
    ------
    ParameterError
    """
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ParameterError(
            "a webhook is an address that starts with https://",
            remedy="within this machine or a private network, http:// will do",
        )
    if parts.username is not None:
        raise ParameterError(
            "a webhook's address has no user and password", remedy="let the receiver check a secret"
        )
    if parts.scheme == "http" and not _is_near(parts.hostname):
        raise ParameterError(
            "a webhook outside this machine and its private network needs https://",
            seen=parts.hostname,
            remedy="over http:// anybody in between could read what is sent",
        )


def post(
    address: str,
    body: bytes,
    *,
    secret: str = "",
    timeout_s: float = 20.0,
    waits_s: Sequence[float] = (),
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Send JSON to an address.

    Parameters
    ----------
    address : str
        See `require_address`.
    body : bytes
    secret : str
        Of the signature; empty: none. Text, or ``whsec_`` and base64.
    timeout_s : float
        Of one attempt.
    waits_s : sequence of float
        Before each further attempt, where the address does not answer or is busy.

    Raises
    ------
    ParameterError
        The address is not allowed.
    OSError
        The last attempt failed; see `reason`.
    """
    require_address(address)
    headers = {"Content-Type": "application/json"}
    if secret:
        headers |= signed_headers(body, secret)
    opener = urllib.request.build_opener(_NoRedirect)
    for wait_s in [*waits_s, None]:
        request = urllib.request.Request(address, data=body, headers=headers, method="POST")
        try:
            with opener.open(request, timeout=timeout_s):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if wait_s is None or not (error.code >= 500 or error.code in _BUSY):
                raise
        except http.client.HTTPException as error:
            raise OSError(f"no answer of HTTP ({type(error).__name__})") from error
        except OSError:
            if wait_s is None:
                raise
        sleep(wait_s)


def signed_headers(body: bytes, secret: str) -> dict[str, str]:
    """Headers of a signed message: an id, the time (Unix [s]), and an HMAC-SHA256 over all three.

    A receiver refuses a message whose time is long ago, and ids that it has had.

    Raises
    ------
    ParameterError
        The secret begins with ``whsec_`` and is not base64.
    """
    message_id, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    content = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), content, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def reason(error: Exception) -> str:
    """Why sending failed, without the address, which is often a secret."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error)


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ParameterError(
            "the webhook's secret is damaged", remedy="after whsec_ it is base64"
        ) from error


def _is_near(host: str) -> bool:
    """Whether all addresses of a host are this machine's or of a private network."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return True  # the attempt fails, and says why
    addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
    return all(each.is_loopback or each.is_private for each in addresses)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None
