// Recorded runs to pick from: a click on a head sorts, the field above filters, ticks choose.

function element(tag, attributes = {}, parent = null) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value; else node.setAttribute(key, value);
  }
  if (parent) parent.append(node);
  return node;
}

const COLUMNS = ["started", "name", "kind", "status", "seconds", "experiment", "video"];

function shown(row, key) {
  const value = row[key];
  if (key === "started") {
    const at = new Date(value), two = (n) => String(n).padStart(2, "0");
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
      `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  }
  if (key === "seconds") return value === null ? "" : value.toFixed(1);
  if (key === "video") return value ? "▶" : "";
  return value === null ? "" : String(value);
}

function render({ model, el }) {
  const say = model.get("labels");
  const root = element("div", { class: "hg-runs" }, el);
  const bar = element("div", { class: "hg-controls" }, root);
  const filter = element("input", { type: "search", placeholder: say.filter, "aria-label": say.filter }, bar);
  const count = element("output", {}, bar);
  const box = element("div", { class: "hg-runs-box", tabindex: "0" }, root);
  const table = element("table", {}, box);
  const head = element("tr", {}, element("thead", {}, table));
  element("th", { "aria-label": say.choose }, head);
  const heads = {};
  for (const key of COLUMNS) {
    const cell = element("th", { scope: "col" }, head);
    const button = element("button", { text: say["column_" + key] }, cell);
    button.addEventListener("click", () => {
      down = by === key ? !down : key === "started" || key === "seconds";
      by = key;
      draw();
    });
    heads[key] = cell;
  }
  const body = element("tbody", {}, table);
  let by = "started", down = true;

  function order(a, b) {
    const [x, y] = [a[by], b[by]];
    const less = typeof x === "string" ? x.localeCompare(String(y)) : (x ?? -1) - (y ?? -1);
    return down ? -less : less;
  }

  function draw() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = model.get("rows").filter((row) => {
      const text = COLUMNS.map((key) => shown(row, key)).join(" ").toLowerCase() + " " + row.id;
      return words.every((word) => text.includes(word));
    }).sort(order);
    const chosen = model.get("chosen");
    for (const key of COLUMNS) {
      heads[key].setAttribute("aria-sort", key === by ? (down ? "descending" : "ascending") : "none");
    }
    body.replaceChildren();
    for (const row of rows) {
      const line = element("tr", { "data-run": row.id, title: row.id }, body);
      const tick = element("input", { type: "checkbox", "aria-label": `${say.choose} ${row.name}` }, element("td", {}, line));
      tick.checked = chosen.includes(row.id);
      line.classList.toggle("hg-chosen", tick.checked);
      tick.addEventListener("change", () => {
        // Chosen ones keep the order in which they were ticked: that gives the letters A, B, C.
        const others = model.get("chosen").filter((id) => id !== row.id);
        model.set("chosen", tick.checked ? [...others, row.id] : others);
        model.save_changes();
        draw();
        body.querySelector(`tr[data-run="${row.id}"] input`)?.focus();
      });
      for (const key of COLUMNS) {
        const cell = element("td", { text: shown(row, key), class: "hg-" + key }, line);
        if (key === "status") cell.dataset.status = row.status;
      }
    }
    count.textContent = say.count.replace("{shown}", rows.length).replace("{total}", model.get("rows").length)
      .replace("{chosen}", chosen.length);
  }

  filter.addEventListener("input", draw);
  model.on("change:rows", draw);
  model.on("change:chosen", draw);
  draw();
}

export default { render };
