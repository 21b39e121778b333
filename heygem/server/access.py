"""Access control of a served studio: which users, from which networks, to which URLs.

A Jupyter server lets every logged-in user run any code. A studio that serves others restricts this
in three ways. A routing rule ahead of the server's own rejects networks outside the policy and
every URL that the studio's page does not need. An identity provider authenticates users by name and
password and requires a recorded consent to the usage agreement. Kernels accept widget messages
only, never code (see `heygem.server.jupyter`).
"""

import hmac
import html
import re
from urllib.parse import unquote

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.auth.security import passwd, passwd_check
from tornado import web
from tornado.routing import Matcher, Rule

from heygem.provenance import keys
from heygem.provenance import ledger as record
from heygem.server import policy

USER_HEADER = "X-Heygem-User"  # Voilà passes it to the kernel as policy.USER_VARIABLE
FILES = "runs"  # folder whose files the page may show: previews and results
_KERNEL = r"[0-9a-f-]{36}"
# Checked for unknown names, so that rejecting one takes as long as rejecting a wrong password.
_UNKNOWN_USER_HASH = passwd("nobody has this one")


def allowed_requests(notebook):
    """Requests that a notebook's page makes, as (method, pattern) below the base URL."""
    return (
        (r"GET|POST", r"login"),
        (r"GET", r"logout"),
        (r"GET", rf"(voila/render/{re.escape(notebook)})?"),
        (r"GET", r"voila/(static|templates|labextensions|api/themes)/.*"),
        (r"GET", r"static/.*|favicon\.ico"),
        (r"GET|HEAD", rf"files/{FILES}/.*"),
        (r"GET", rf"api/kernels/{_KERNEL}/channels"),  # the widgets' web socket
        (r"GET", rf"api/kernels/{_KERNEL}"),
        (r"POST", rf"voila/api/shutdown/{_KERNEL}"),  # the page is left
    )


class RefusalMatcher(Matcher):
    """Matches requests that must not reach the server."""

    def __init__(self, rules, base_url, allowed):
        self._rules = rules
        self._base = base_url
        self._allowed = [(re.compile(m), re.compile(p)) for m, p in allowed]

    def match(self, request):
        # Only the identity provider may set this header.
        request.headers.pop(USER_HEADER, None)
        if not self._rules.is_served(
            request.remote_ip, request.headers.get_list("X-Forwarded-For")
        ):
            return {"target_kwargs": {"status": 403, "reason": "not served in your region"}}
        below = unquote(request.path).removeprefix(self._base)
        for method, pattern in self._allowed:
            if method.fullmatch(request.method) and pattern.fullmatch(below) and ".." not in below:
                request.passed_access_check = True
                return None
        return {"target_kwargs": {"status": 404, "reason": "no such page"}}


class RefusalHandler(web.RequestHandler):
    """Rejects a request with one line of text."""

    def initialize(self, status, reason):
        self._response = status, reason

    def check_xsrf_cookie(self):
        pass  # rejecting a request needs no protection against forgery

    def prepare(self):
        status, reason = self._response
        self.set_status(status)
        self.finish(f"{reason}\n")


class LoginPage(LoginFormHandler):
    """Name, password, and the usage agreement with its box to tick."""

    def _render(self, message=None):
        text = html.escape(next(iter((message or {}).values()), ""))
        target = html.escape(self.get_argument("next", default=self.base_url), quote=True)
        agreement = html.escape(self.identity_provider.rules.agreement)
        self.write(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>HeyGem</title>'
            '<meta name="viewport" content="width=device-width">'
            "<style>body{font:16px/1.5 sans-serif;max-width:42em;margin:2em auto;padding:0 1em}"
            "pre{white-space:pre-line;font:inherit;border:1px solid #999;padding:1em;"
            "max-height:24em;overflow:auto}label{display:block;margin:.6em 0}</style>"
            f'<h1>HeyGem</h1><p role="alert" style="color:#b00">{text}</p>'
            f'<form method="post" action="{self.base_url}login">{self.xsrf_form_html()}'
            f'<input type="hidden" name="next" value="{target}">'
            '<label>Name <input name="name" autocomplete="username" required></label>'
            '<label>Password <input name="password" type="password" required '
            'autocomplete="current-password"></label>'
            f'<h2>Usage agreement</h2><pre tabindex="0">{agreement}</pre>'
            '<label><input type="checkbox" name="agree" value="yes" required> '
            "I have read this and agree. My agreement is recorded.</label>"
            "<button>Log in</button></form>"
        )

    @allow_unauthenticated
    def post(self):
        if self.get_argument("agree", default="") != "yes":
            self.set_status(403)
            self._render(message={"error": "To log in, agree to the usage agreement."})
            return
        super().post()


class PasswordIdentityProvider(IdentityProvider):
    """Authenticates the policy's users and checks that they have agreed."""

    login_handler_class = LoginPage
    need_token = False

    def __init__(self, **more):
        super().__init__(**more)
        self.rules = policy.current()
        self._agreed = set()
        self._ledger()  # what is wrong with it shows at the start, not at the first login

    def _ledger(self):
        # Opened anew, since the keys may be replaced while the server runs.
        return record.Ledger(keys=keys.ensure())

    async def get_user(self, handler):
        if not getattr(handler.request, "passed_access_check", False):
            return None  # without the access rule nobody is logged in
        user = self.get_user_cookie(handler)
        if user is None or not self._has_access(user.username):
            return None
        handler.request.headers[USER_HEADER] = user.username
        return user

    def process_login_form(self, handler):
        name = handler.get_argument("name", default="")
        hashed = self.rules.users.get(name)
        if not passwd_check(
            hashed or _UNKNOWN_USER_HASH, handler.get_argument("password", default="")
        ):
            return None
        if hashed is None:
            return None
        address = _client_address(self.rules, handler.request)
        self.rules.agree(self._ledger(), name, address=address)
        return User(username=name)

    def cookie_secret_hook(self, h: hmac.HMAC) -> hmac.HMAC:
        for name, stored in sorted(
            self.rules.users.items()
        ):  # a new password invalidates old logins
            h.update(f"{name}:{stored}".encode())
        return h

    def _has_access(self, name):
        if name not in self.rules.users:
            return False
        if name not in self._agreed and self.rules.has_agreed(self._ledger(), name):
            self._agreed.add(name)
        return name in self._agreed


def _client_address(rules, request):
    client = rules.client(request.remote_ip, request.headers.get_list("X-Forwarded-For"))
    return None if client is None else str(client)


def _jupyter_server_extension_points():
    return [{"module": "heygem.server.access"}]


def _load_jupyter_server_extension(server):
    from heygem.server.jupyter import STUDIO

    rules = policy.current()
    if rules is None:
        raise policy.PolicyError("access control needs a policy")
    app, base = server.web_app, server.web_app.settings["base_url"]
    app.default_router.rules.insert(
        0, Rule(RefusalMatcher(rules, base, allowed_requests(STUDIO)), RefusalHandler)
    )
