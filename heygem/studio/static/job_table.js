// A list of jobs. Rows keep their elements while their contents change, so that focus, a drag and
// a screen reader's place survive every refresh.

const SYMBOLS = { pending: "○", running: "▶", done: "✔", failed: "✖", cancelled: "■" };
const BUTTONS = [["up", "↑", "move"], ["down", "↓", "move"], ["cancel", "■", "cancel"], ["retry", "↻", "retry"], ["play", "▶", "play"], ["remove", "✕", "remove"]];

function render({ model, el }) {
  const labels = model.get("labels");
  // JupyterLab would take the arrow keys for itself.
  const root = element("div", { class: "hg-jobs", "data-lm-suppress-shortcuts": "true" }, el);
  const empty = element("div", { class: "hg-empty-queue", text: labels.queue_empty }, root);
  const list = element("ol", { "aria-label": labels.queue }, root);
  const announcement = element("div", { class: "hg-announcement", "aria-live": "polite" }, root);
  const items = new Map();
  let drag = null;
  let count = 0;

  function send(request) { model.set("request", { ...request, n: ++count }); model.save_changes(); }

  function make(id) {
    const li = element("li");
    li.dataset.id = id;
    const parts = { li };
    parts.grip = element("button", { class: "hg-grip", type: "button", text: "⠿" }, li);
    parts.picture = element("img", { alt: "" }, li);
    const inputs = element("div", { class: "hg-inputs" }, li);
    parts.video = element("b", {}, inputs);
    parts.audio = element("span", {}, inputs);
    parts.recipe = element("select", { class: "hg-row-recipe" }, li);
    parts.recipeName = element("span", { class: "hg-row-recipe" }, li);
    parts.recipe.addEventListener("change", () => send({ action: "recipe", id, recipe: parts.recipe.value }));
    const state = element("div", { class: "hg-state" }, li);
    parts.bar = element("progress", { max: 1, value: 0 }, state);
    parts.status = element("span", {}, state);
    const buttons = element("div", { class: "hg-buttons" }, li);
    parts.buttons = {};
    for (const [name, sign, action] of BUTTONS) {
      const button = element("button", { type: "button", text: sign, title: labels[name], class: `hg-do-${name}` }, buttons);
      button.addEventListener("click", () => {
        if (action === "move") send({ action: "move", id, places: name === "up" ? -1 : 1 });
        else send({ action: name, id });
      });
      parts.buttons[name] = [button, action];
    }
    parts.more = element("div", { class: "hg-more" }, li);
    parts.live = element("img", { class: "hg-live" }, li);
    parts.grip.addEventListener("keydown", (event) => {
      const places = { ArrowUp: -1, ArrowDown: 1, Home: -1e6, End: 1e6 }[event.key];
      if (places === undefined) return;
      event.preventDefault();
      send({ action: "move", id, places });
    });
    parts.grip.addEventListener("pointerdown", (event) => begin(event, parts));
    return parts;
  }

  function text(node, value) { if (node.textContent !== value) node.textContent = value; }

  function fill(parts, row, at) {
    const name = `${row.video} ← ${row.audio}`;
    parts.li.className = `hg-${row.state}`;
    text(parts.video, `${SYMBOLS[row.state]} ${row.video}`);
    text(parts.audio, row.audio);
    text(parts.status, row.status);
    parts.bar.value = row.progress;
    parts.bar.setAttribute("aria-label", `${name}: ${row.status}`);
    parts.grip.disabled = !row.actions.includes("move");
    parts.grip.title = labels.drag;
    parts.grip.setAttribute("aria-label", `${name}: ${labels.drag}`);
    for (const [key, [button, action]] of Object.entries(parts.buttons)) {
      button.disabled = !row.actions.includes(action);
      button.setAttribute("aria-label", `${labels[key]}: ${name}`);
    }
    fillRecipe(parts, row, name);
    const more = row.error + row.warnings.map((warning) => `<div>⚠ ${warning}</div>`).join("");
    if (parts.content !== more) { parts.more.innerHTML = more; parts.content = more; }
    if (parts.at !== undefined && parts.at !== at && parts.li.contains(document.activeElement)) {
      text(announcement, labels.moved_to.replace("{at}", at + 1));
    }
    parts.at = at;
    const picture = model.get("thumbnails")[row.path] || "";
    if (parts.picture.getAttribute("src") !== picture) {
      picture ? parts.picture.setAttribute("src", picture) : parts.picture.removeAttribute("src");
    }
    showLive(parts, row, name);
    parts.picture.style.visibility = picture ? "visible" : "hidden";
  }

  function showLive(parts, row, name) {
    const url = model.get("live")[row.id] || "";
    if ((parts.live.getAttribute("src") || "") === url) return;
    parts.live.alt = `${labels.live}: ${name}`;
    url ? parts.live.setAttribute("src", url) : parts.live.removeAttribute("src");
  }

  // A waiting job may be given another recipe; of the others, the name is shown.
  function fillRecipe(parts, row, name) {
    const open = row.state === "pending" && row.recipe_label;
    parts.recipe.style.display = open ? "" : "none";
    parts.recipeName.style.display = open ? "none" : "";
    text(parts.recipeName, row.recipe_label || "");
    if (!open) return;
    parts.recipe.setAttribute("aria-label", `${labels.style}: ${name}`);
    const options = model.get("recipes").map(([label, value]) => ({ label, value }));
    if (!row.recipe) options.unshift({ label: row.recipe_label, value: "" });
    const key = JSON.stringify(options);
    if (parts.options !== key) {
      parts.recipe.replaceChildren(...options.map(({ label, value }) => new Option(label, value)));
      parts.options = key;
    }
    if (document.activeElement !== parts.recipe) parts.recipe.value = row.recipe;
  }

  function draw() {
    if (drag) return;
    const rows = model.get("rows");
    const focused = root.contains(document.activeElement) ? document.activeElement : null;
    for (const [id, parts] of items) {
      if (!rows.some((row) => row.id === id)) { parts.li.remove(); items.delete(id); }
    }
    rows.forEach((row, at) => {
      if (!items.has(row.id)) items.set(row.id, make(row.id));
      const parts = items.get(row.id);
      fill(parts, row, at);
      if (list.children[at] !== parts.li) list.insertBefore(parts.li, list.children[at] || null);
    });
    if (focused && document.activeElement !== focused && root.contains(focused)) focused.focus();
    empty.style.display = rows.length ? "none" : "";
  }

  // The row follows the pointer through the list; where it is let go, it is put.
  function begin(event, parts) {
    if (event.button !== 0 || parts.grip.disabled) return;
    event.preventDefault();
    parts.grip.focus();
    parts.li.classList.add("hg-dragged");
    drag = { parts, moved: false };
    const follow = (move) => {
      const after = [...list.children].find((li) => {
        const box = li.getBoundingClientRect();
        return li !== parts.li && move.clientY < box.top + box.height / 2;
      });
      if (parts.li.nextElementSibling !== (after || null)) {
        list.insertBefore(parts.li, after || null);
        drag.moved = true;
      }
    };
    const end = (dropped) => {
      for (const [name, listener] of Object.entries(listeners)) window.removeEventListener(name, listener);
      parts.li.classList.remove("hg-dragged");
      const moved = drag.moved && dropped;
      drag = null;
      parts.grip.focus();
      const next = parts.li.nextElementSibling;
      if (moved) send({ action: "place", id: parts.li.dataset.id, before: next ? next.dataset.id : null });
      else draw();
    };
    // On the window: an element that moves through the document loses the pointer.
    const listeners = {
      pointermove: follow,
      pointerup: () => end(true),
      pointercancel: () => end(false),
      keydown: (key) => { if (key.key === "Escape") end(false); },
    };
    for (const [name, listener] of Object.entries(listeners)) window.addEventListener(name, listener);
  }

  model.on("change:rows", draw);
  model.on("change:thumbnails", draw);
  model.on("change:recipes", draw);
  model.on("change:live", draw);
  draw();
}

export default { render };
