"""Jupyter server extension of the studio: how Voilà shows a notebook, and when its kernel ends.

Every opened page has a kernel of its own, with some hundred megabytes of models. It ends when the
page says that it is being left, and otherwise soon after the page's web socket has closed.
"""

import time
import urllib.parse
from pathlib import PurePosixPath
from typing import Any

from jupyter_core.utils import ensure_async
from tornado.ioloop import PeriodicCallback
from traitlets.config import Config

from heygem.core.i18n import language, phrases
from heygem.core.memory import release_unused
from heygem.core.notebook_texts import notebook_language
from heygem.server import preloaded_kernels

TEMPLATE = "heygem"  # in jupyter_data/voila/templates
PHRASES = ("title", "intro", "page_lost", "reload")
#: Notebooks that are pages of their own, by the beginning of their name; the key of their texts.
PAGES = {
    "01_": "preview", "02_": "tuning", "03_": "finetune", "20_": "compare", "30_": "trace",
}  # fmt: skip
READERS, SKIPPED = "for-readers", "skip-execution"  # tags of cells
CHECK_S = 3.0
#: A page whose connection broke may return within this time; then its kernel ends.
GRACE_S = 20.0
#: A kernel that no page has ever connected to, and that is still running its notebook.
START_S = 600.0
#: Until the output of a cell that has run arrives.
OUTPUT_S = 120


class PageKernels:
    """Ends the kernels of pages that are gone.

    Jupyter's own culling does not suffice: a kernel that still reports progress to a page which is
    gone counts as active there.

    Parameters
    ----------
    kernels : jupyter_server.services.kernels.kernelmanager.MappingKernelManager
    clock : callable
        Returns seconds.
    """

    def __init__(self, kernels: Any, *, clock: Any = time.monotonic) -> None:
        self._kernels, self._clock = kernels, clock
        self._alone_since_s: dict[tuple[str, bool], float] = {}
        self._was_connected: set[str] = set()
        self._running: set[str] = set()

    def gone(self) -> list[str]:
        """Ids of kernels whose page is gone."""
        now_s, gone = self._clock(), []
        models = {model["id"]: model for model in self._kernels.list_kernels()}
        self._was_connected &= set(models)
        # Below zero where a connection failed before it was counted.
        alone = {k for k, model in models.items() if model["connections"] <= 0}
        self._alone_since_s = {k: v for k, v in self._alone_since_s.items() if k[0] in alone}
        for kernel_id, model in models.items():
            if model["connections"] > 0:
                self._was_connected.add(kernel_id)
                continue
            starting = kernel_id not in self._was_connected and model["execution_state"] != "idle"
            limit_s = START_S if starting else GRACE_S
            # Each limit has a clock of its own: a notebook that took long to run is not cut off.
            since = self._alone_since_s.setdefault((kernel_id, starting), now_s)
            if now_s - since > limit_s:
                gone.append(kernel_id)
        return gone

    async def end_gone(self) -> None:
        """End the kernels whose page is gone; return the memory that ended ones have left."""
        running = set(self._kernels.list_kernel_ids())
        if self._running - running:
            release_unused()
        self._running = running
        for kernel_id in self.gone():
            if kernel_id in self._kernels:
                self._kernels.log.info("The page of kernel %s is gone", kernel_id)
                await ensure_async(self._kernels.shutdown_kernel(kernel_id))


def prepare_page(handler: Any, notebook: Any, cwd: str) -> None:
    """Before a page is rendered: its title, and the cookie with which it tells that it is left.

    Cells for readers of the notebook, who have no page, are not run: some wait for its results, and
    a page is shown when its last cell has run.
    """
    _ = handler.xsrf_token
    notebook.cells = [c for c in notebook.cells if READERS not in c.metadata.get("tags", ())]
    for cell in notebook.cells:  # a batch run skips the page, which is all that is shown here
        if SKIPPED in cell.metadata.get("tags", ()):
            cell.metadata["tags"] = [tag for tag in cell.metadata["tags"] if tag != SKIPPED]
    name = PurePosixPath(urllib.parse.unquote(str(handler.request.path))).stem
    notebook.metadata["heygem_page"] = page_text(name, notebook_language(notebook))


def page_text(name: str, lang: str) -> dict[str, str]:
    """Language, title, introduction and messages of a notebook's page."""
    text = phrases("interface", lang)
    page = {"lang": lang, **{key: text[key] for key in PHRASES}}
    key = next((key for start, key in PAGES.items() if name.startswith(start)), "")
    if key:
        page |= {"title": text[f"page_{key}"], "intro": text[f"page_{key}_intro"]}
    return page


def local_only(page_config: dict[str, Any], *, base_url: str, **_: Any) -> dict[str, Any]:
    """The page's settings with a script of ours in place of MathJax, which a CDN would serve.

    Without any address, a part of the page fails to start and says so in the browser's console.
    """
    script = f"{base_url}voila/templates/{TEMPLATE}/static/no_formulas.js"
    return {**page_config, "fullMathjaxUrl": script, "mathjaxConfig": "none"}


def configure_voila(config: Config) -> None:
    """Set how Voilà shows pages."""
    config.VoilaConfiguration.template = TEMPLATE
    config.VoilaConfiguration.resources = {"heygem": page_text("", language())}
    config.VoilaConfiguration.prelaunch_hook = prepare_page
    config.VoilaConfiguration.page_config_hook = local_only
    # They are for JupyterLab's notebooks.
    config.VoilaConfiguration.extension_denylist = ["heygem", "jupyterlab_pygments"]
    # A cell's output that comes later is lost, and the page would stay empty: on a machine that
    # makes videos, more than the usual four seconds pass.
    config.VoilaExecutor.iopub_timeout = OUTPUT_S


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "heygem.server.voila_page"}]


def _load_jupyter_server_extension(server: Any) -> None:
    # Extensions are loaded in the order of their names: this one before Voilà reads the settings.
    configure_voila(server.config)
    preloaded_kernels.install()
    pages = PageKernels(server.kernel_manager)
    # Held by the server, as long as it lives.
    server.web_app.settings["heygem_page_kernels"] = check = PeriodicCallback(
        pages.end_gone, CHECK_S * 1000
    )
    check.start()
