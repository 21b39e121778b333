// Put before the script of each widget, which uses these functions; see `heygem.studio.scripts`.

function element(tag, attributes = {}, parent = null) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value; else node.setAttribute(key, value);
  }
  if (parent) parent.append(node);
  return node;
}

// The path at which the page's server answers: of Voilà, of JupyterLab, else of a bare page.
function baseUrl() {
  const config = document.getElementById("jupyter-config-data");
  const base = config ? JSON.parse(config.textContent).baseUrl : document.body.dataset.baseUrl;
  return (base || "/").replace(/\/?$/, "/");
}

// A file's address, given relative to the server's; whole addresses stay.
function address(url) {
  return /^[a-z]+:/.test(url) || url.startsWith("/") ? url : baseUrl() + url;
}

// A range's track has the colour of its part below the value up to there; see `studio.css`.
function fill(range) {
  const share = (range.value - range.min) / (range.max - range.min || 1);
  range.style.setProperty("--hg-filled", `${100 * share}%`);
}


// Saves what happened by itself, such as a film that has loaded: the page may be leaving, and its
// kernel's connection closed.
function saveIfConnected(model) {
  if (!model.widget_manager?.kernel?.isDisposed) model.save_changes();
}
