"""Pages of the queue's service for people: their jobs and videos, and the usage agreement.

Browsers come with JupyterHub's own login.
"""

import os
import time
import urllib.parse
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from jupyterhub.services.auth import HubOAuthenticated
from tornado import web

from heygem.batch.queue.job import FINISHED
from heygem.core.errors import InputError
from heygem.core.i18n import LANGUAGES, translator
from heygem.provenance import keys
from heygem.provenance.ledger import Ledger
from heygem.server.admission import user_folder
from heygem.server.service_api import BaseHandler, Service

PAGE_ROWS = 200
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("heygem.server"), autoescape=True, trim_blocks=True
)


class PageHandler(BaseHandler):
    """A page for a person."""

    def show(self, template: str, **values: Any) -> None:
        """Write a page in the person's language."""
        code = self.get_browser_locale().code[:2]
        lang = code if code in LANGUAGES else ""
        form = self.xsrf_form_html()
        page = _TEMPLATES.get_template(template)
        prefix = self.service_prefix()
        self.finish(
            page.render(
                t=translator(lang), lang=lang or "en", prefix=prefix, form=form, user=self.user,
                **values,
            )
        )  # fmt: skip

    def service_prefix(self) -> str:
        """Path of the service below the site's root."""
        return os.environ["JUPYTERHUB_SERVICE_PREFIX"]


class ResultsPage(PageHandler):
    """The user's jobs and videos; for a reviewer, everybody's."""

    @web.authenticated
    async def get(self) -> None:
        first = max(0, int(self.get_query_argument("from", "0")))
        owner = None if self.reviews else self.user
        find = partial(self.service.queue.jobs, owner=owner, states=FINISHED)
        jobs = list(reversed(await self.call(find)))
        page = jobs[first : first + PAGE_ROWS]
        later = first + PAGE_ROWS if len(jobs) > first + PAGE_ROWS else None
        self.show("results.html", jobs=page, later=later, reviews=self.reviews, clock=_clock)


class AgreementPage(PageHandler):
    """The usage agreement, and the button by which the user agrees."""

    @web.authenticated
    async def get(self) -> None:
        rules, ledger = self.service.rules, Ledger(keys=keys.ensure())
        agreed = await self.call(rules.has_agreed, ledger, self.user)
        self.show("agreement.html", text=rules.agreement, version=rules.version, agreed=agreed)

    @web.authenticated
    async def post(self) -> None:
        if self.get_body_argument("version", "") != self.service.rules.version:
            raise web.HTTPError(409)
        ledger = Ledger(keys=keys.ensure())
        address = self.request.remote_ip
        await self.call(self.service.rules.agree, ledger, self.user, address)
        self.redirect(self.service_prefix() + "agreement")


class VideoHandler(HubOAuthenticated, web.StaticFileHandler):
    """A finished video, to its owner and to reviewers; plays from any position."""

    def initialize(self, service: Service) -> None:  # type: ignore[override]
        super().initialize(path=str(service.results))
        self.service = service

    prepare = BaseHandler.prepare
    user, reviews, job = BaseHandler.user, BaseHandler.reviews, BaseHandler.job

    @web.authenticated
    async def get(  # type: ignore[override]
        self, job_id: str, include_body: bool = True
    ) -> None:
        try:
            job = self.job(job_id, to_read=True)
        except InputError as error:
            raise web.HTTPError(404) from error
        own = self.service.results / user_folder(job.owner)
        path = Path(job.output).resolve()
        if job.state != "done" or not path.is_relative_to(own.resolve()):
            raise web.HTTPError(404)
        name = urllib.parse.quote(path.name)
        self.set_header("Content-Disposition", f"inline; filename*=UTF-8''{name}")
        relative = path.relative_to(self.service.results.resolve())
        await super().get(str(relative), include_body)

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""
