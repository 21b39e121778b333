// A list of jobs. Rows keep their elements while their contents change, so that focus, a drag and
// a screen reader's place survive every refresh.

const SYMBOLS = { waiting: "○", running: "▶", done: "✔", failed: "✖", cancelled: "■" };
const BUTTONS = [["up", "↑", "move"], ["down", "↓", "move"], ["cancel", "■", "cancel"], ["retry", "↻", "retry"], ["remove", "✕", "remove"]];

function element(tag, attributes = {}, parent = null) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value; else node.setAttribute(key, value);
  }
  if (parent) parent.append(node);
  return node;
}

function render({ model, el }) {
  const say = model.get("labels");
  // JupyterLab would take the arrow keys for itself.
  const root = element("div", { class: "hg-jobs", "data-lm-suppress-shortcuts": "true" }, el);
  const empty = element("div", { class: "hg-none", text: say.queue_empty }, root);
  const list = element("ol", { "aria-label": say.queue }, root);
  const spoken = element("div", { class: "hg-spoken", "aria-live": "polite" }, root);
  const items = new Map();
  let drag = null;
  let count = 0;

  function ask(what) { model.set("asked", { ...what, n: ++count }); model.save_changes(); }

  function make(id) {
    const li = element("li");
    li.dataset.id = id;
    const parts = { li };
    parts.grip = element("button", { class: "hg-grip", type: "button", text: "⠿" }, li);
    parts.picture = element("img", { alt: "" }, li);
    const who = element("div", { class: "hg-who" }, li);
    parts.video = element("b", {}, who);
    parts.sound = element("span", {}, who);
    const how = element("div", { class: "hg-how" }, li);
    parts.bar = element("progress", { max: 1, value: 0 }, how);
    parts.words = element("span", {}, how);
    const act = element("div", { class: "hg-act" }, li);
    parts.buttons = {};
    for (const [name, sign, right] of BUTTONS) {
      const button = element("button", { type: "button", text: sign, title: say[name] }, act);
      button.addEventListener("click", () => {
        if (right === "move") ask({ do: "move", id, places: name === "up" ? -1 : 1 });
        else ask({ do: name, id });
      });
      parts.buttons[name] = [button, right];
    }
    parts.more = element("div", { class: "hg-more" }, li);
    parts.grip.addEventListener("keydown", (event) => {
      const places = { ArrowUp: -1, ArrowDown: 1, Home: -1e6, End: 1e6 }[event.key];
      if (places === undefined) return;
      event.preventDefault();
      ask({ do: "move", id, places });
    });
    parts.grip.addEventListener("pointerdown", (event) => begin(event, parts));
    return parts;
  }

  function text(node, value) { if (node.textContent !== value) node.textContent = value; }

  function fill(parts, row, at) {
    const name = `${row.video} ← ${row.sound}`;
    parts.li.className = `hg-${row.state}`;
    text(parts.video, `${SYMBOLS[row.state]} ${row.video}`);
    text(parts.sound, row.sound);
    text(parts.words, row.words);
    parts.bar.value = row.share;
    parts.bar.setAttribute("aria-label", `${name}: ${row.words}`);
    parts.grip.disabled = !row.can.includes("move");
    parts.grip.title = say.drag;
    parts.grip.setAttribute("aria-label", `${name}: ${say.drag}`);
    for (const [key, [button, right]] of Object.entries(parts.buttons)) {
      button.disabled = !row.can.includes(right);
      button.setAttribute("aria-label", `${say[key]}: ${name}`);
    }
    const more = row.error + row.notes.map((note) => `<div>⚠ ${note}</div>`).join("");
    if (parts.content !== more) { parts.more.innerHTML = more; parts.content = more; }
    if (parts.at !== undefined && parts.at !== at && parts.li.contains(document.activeElement)) {
      text(spoken, say.moved_to.replace("{at}", at + 1));
    }
    parts.at = at;
    const picture = model.get("pictures")[row.path] || "";
    if (parts.picture.getAttribute("src") !== picture) {
      picture ? parts.picture.setAttribute("src", picture) : parts.picture.removeAttribute("src");
    }
    parts.picture.style.visibility = picture ? "visible" : "hidden";
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
      if (moved) ask({ do: "place", id: parts.li.dataset.id, before: next ? next.dataset.id : null });
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
  model.on("change:pictures", draw);
  draw();
}

export default { render };
