// Pictures of a folder's videos; a click chooses one.

function render({ model, el }) {
  const root = element("div", { class: "hg-thumbnails", role: "group" }, el);
  const buttons = new Map();
  let count = 0;

  function draw() {
    const items = model.get("items").filter((item) => item.source);
    const selected = new Set(model.get("selected"));
    for (const [path, button] of buttons) {
      if (!items.some((item) => item.path === path)) { button.remove(); buttons.delete(path); }
    }
    items.forEach((item, at) => {
      let button = buttons.get(item.path);
      if (!button) {
        button = element("button", { type: "button", title: item.name });
        element("img", { alt: "" }, button);
        element("span", { text: item.name }, button);
        button.addEventListener("click", () => {
          model.set("clicked", { path: item.path, n: ++count });
          model.save_changes();
        });
        buttons.set(item.path, button);
      }
      if (button.firstChild.src !== item.source) button.firstChild.src = item.source;
      button.setAttribute("aria-pressed", selected.has(item.path));
      if (root.children[at] !== button) root.insertBefore(button, root.children[at] || null);
    });
    root.style.display = items.length ? "" : "none";
  }

  model.on("change:items", draw);
  model.on("change:selected", draw);
  draw();
}

export default { render };
