"""The studio of one of several users: the queue of the hub's service, and previews of one's own."""

import html
import os
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.i18n import Translate, translator
from heygem.core.types import PathLike
from heygem.server.client import PAGE_VARIABLE, HubQueue, open_queue
from heygem.studio.pages.batch import BatchPage
from heygem.studio.pages.studio import SinglePage
from heygem.studio.status import error_html, poll

POLL_S = 5.0


class Allowance(w.HTML):
    """What is left of the user's quota, the way to the results, and the agreement if it is missing.

    Parameters
    ----------
    queue : heygem.server.client.HubQueue
    translate : callable
    """

    def __init__(self, queue: HubQueue, translate: Translate) -> None:
        super().__init__()
        self._queue, self._translate = queue, translate
        self.refresh()
        poll(self, POLL_S, Allowance.refresh)

    def refresh(self) -> None:
        """Ask the service again."""
        try:
            usage = self._queue.usage()
        except HeygemError as error:
            self.value = error_html(error, self._translate, with_traceback=False)
            return
        self.value = self._lines(usage["agreed"], usage["used"], usage["quota"])

    def _lines(self, agreed: bool, used: dict[str, Any], quota: dict[str, Any]) -> str:
        page = html.escape(os.environ.get(PAGE_VARIABLE, "/services/heygem/"), quote=True)
        t = self._translate
        left = t(
            "hub_usage",
            videos=used["videos"],
            of_videos=quota["videos_per_day"],
            minutes=used["minutes"],
            of_minutes=quota["minutes_per_day"],
        )
        lines = [f"{html.escape(left)} · {_link(page, t('hub_results'))}"]
        if not agreed:
            text = html.escape(t("hub_agree_first"))
            lines.insert(0, f"<b>{text}</b> {_link(f'{page}agreement', t('hub_agreement'))}")
        return "<br>".join(lines)


class ServedStudio(w.VBox):
    """The allowance, and two tabs: the queue, and a preview that the user's own server renders.

    Parameters
    ----------
    params : heygem.config.params.Params, optional
        Settings of mouth, picture and sound; the rest is the installation's.
    folder : path
        Initial folder of the file browsers.
    queue : heygem.server.client.HubQueue, optional
        Default: the hub's.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.
    """

    def __init__(
        self,
        *,
        params: Params | None = None,
        folder: PathLike = ".",
        queue: Any = None,
        lang: str = "",
    ) -> None:
        translate = translator(lang)
        params = params if params is not None else Params()
        queue = queue if queue is not None else open_queue()
        folder = Path(folder).resolve()
        self.allowance = Allowance(queue, translate)
        self.batch = BatchPage(queue, params, folder=folder, translate=translate)
        self.single = SinglePage(queue, params=params, folder=folder, lang=lang)
        titles = [translate("tab_batch"), translate("tab_single")]
        super().__init__([self.allowance, w.Tab([self.batch, self.single], titles=titles)])


def _link(address: str, text: str) -> str:
    return f'<a href="{address}" target="_blank" rel="noopener">{html.escape(text)}</a>'
