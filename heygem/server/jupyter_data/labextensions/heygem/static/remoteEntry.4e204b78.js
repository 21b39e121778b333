// Notebooks that are pages (metadata `"heygem": {"page": true}`) are run when they are opened, and the
// page comes into view: only where the server says that their code is heygem's own, as
// heygem/server/notebook_pages.py explains. Their code is folded by the notebooks' own metadata.
//
// A JupyterLab extension without a build: this is the container that module federation expects.
// `init` gets the modules that JupyterLab shares, `get` gives the plugin.
(() => {
  let shared = {};

  // A module that JupyterLab shares, in whichever version it has.
  async function load(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  async function mayRun(services, path) {
    const settings = services.ServerConnection.makeSettings();
    const address = `${settings.baseUrl}heygem/api/notebook-page?path=${encodeURIComponent(path)}`;
    const response = await services.ServerConnection.makeRequest(address, {}, settings);
    return response.ok && (await response.json()).may_run === true;
  }

  // Whether anything was run in the notebook's kernel before: then somebody works in it.
  async function isFresh(kernel) {
    const request = { code: "", silent: true, user_expressions: { count: "len(In)" } };
    const answer = await kernel.requestExecute(request).done;
    return Number(answer.content.user_expressions?.count?.data?.["text/plain"] ?? 2) <= 1;
  }

  const pageCell = (notebook) => [...notebook.model.cells].findIndex((cell) => (cell.getMetadata("tags") || []).includes("page"));

  async function open(app, services, panel) {
    await panel.context.ready;
    if (!panel.model.getMetadata("heygem")?.page || panel.context.model.dirty) return;
    if (!(await mayRun(services, panel.context.path))) return;
    await panel.revealed;
    await panel.sessionContext.ready;
    const kernel = panel.sessionContext.session?.kernel;
    if (!kernel || !(await isFresh(kernel))) return;
    const notebook = panel.content, at = pageCell(notebook);
    if (at < 0) return;
    app.shell.activateById(panel.id);
    notebook.activeCellIndex = at;
    // Not the cells below: they wait for the page's results, and the kernel would answer nothing.
    await app.commands.execute("notebook:run-all-above");
    notebook.activeCellIndex = at;
    await app.commands.execute("notebook:run-cell");
    panel.model.dirty = false;  // nobody has changed anything: its outputs come with every opening
    await notebook.scrollToItem(at, "start");
  }

  async function plugin() {
    const { INotebookTracker } = await load("@jupyterlab/notebook");
    const services = await load("@jupyterlab/services");
    return {
      id: "heygem:pages",
      autoStart: true,
      requires: [INotebookTracker],
      activate: (app, tracker) => {
        tracker.widgetAdded.connect((_, panel) => {
          open(app, services, panel).catch((error) => console.warn("heygem: the page was not run", error));
        });
      },
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.heygem = {
    init: (scope) => { shared = scope; },
    get: async () => {
      // Voilà loads it too, which runs notebooks anyway.
      const isApp = document.body.dataset.voila !== undefined;
      const made = isApp ? { id: "heygem:pages", autoStart: true, activate: () => {} } : await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();
