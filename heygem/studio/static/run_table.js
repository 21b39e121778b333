// Recorded runs to choose from: a click on a heading sorts, the field above filters.

const COLUMNS = ["started", "name", "kind", "status", "seconds", "experiment", "video"];

// Kinds and states of runs are stored in English.
function shown(row, key, labels) {
  const value = row[key];
  if (key === "started") {
    const at = new Date(value), two = (n) => String(n).padStart(2, "0");
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
      `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  }
  if (key === "seconds") return value === null ? "" : value.toFixed(1);
  if (key === "video") return value ? "▶" : "";
  if (key === "kind" || key === "status") return labels["run_" + value] || String(value ?? "");
  return value === null ? "" : String(value);
}

function render({ model, el }) {
  const labels = model.get("labels");
  const root = element("div", { class: "hg-runs" }, el);
  const bar = element("div", { class: "hg-controls" }, root);
  const filter = element("input", { type: "search", placeholder: labels.filter, "aria-label": labels.filter }, bar);
  const count = element("output", {}, bar);
  const box = element("div", { class: "hg-runs-box", tabindex: "0" }, root);
  const table = element("table", {}, box);
  const head = element("tr", {}, element("thead", {}, table));
  element("th", { "aria-label": labels.choose }, head);
  const heads = {};
  for (const key of COLUMNS) {
    const cell = element("th", { scope: "col" }, head);
    const button = element("button", { text: labels["column_" + key] }, cell);
    button.addEventListener("click", () => {
      descending = sortKey === key ? !descending : key === "started" || key === "seconds";
      sortKey = key;
      draw();
    });
    heads[key] = cell;
  }
  const body = element("tbody", {}, table);
  let sortKey = "started", descending = true;

  function order(a, b) {
    const [x, y] = [a[sortKey], b[sortKey]];
    const less = typeof x === "string" ? x.localeCompare(String(y)) : (x ?? -1) - (y ?? -1);
    return descending ? -less : less;
  }

  function draw() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = model.get("rows").filter((row) => {
      const text = COLUMNS.map((key) => shown(row, key, labels)).join(" ").toLowerCase() + " " + row.id;
      return words.every((word) => text.includes(word));
    }).sort(order);
    const chosen = model.get("chosen");
    for (const key of COLUMNS) {
      heads[key].setAttribute("aria-sort", key === sortKey ? (descending ? "descending" : "ascending") : "none");
    }
    body.replaceChildren();
    for (const row of rows) {
      const line = element("tr", { "data-run": row.id, title: row.id }, body);
      const checkbox = element("input", { type: "checkbox", "aria-label": `${labels.choose} ${row.name}` }, element("td", {}, line));
      checkbox.checked = chosen.includes(row.id);
      line.classList.toggle("hg-chosen", checkbox.checked);
      checkbox.addEventListener("change", () => {
        // Runs keep the order in which they were checked: it gives them their letters A, B, C.
        const others = model.get("chosen").filter((id) => id !== row.id);
        model.set("chosen", checkbox.checked ? [...others, row.id] : others);
        model.save_changes();
        draw();
        body.querySelector(`tr[data-run="${row.id}"] input`)?.focus();
      });
      for (const key of COLUMNS) {
        const cell = element("td", { text: shown(row, key, labels), class: "hg-" + key }, line);
        if (key === "status") cell.dataset.status = row.status;
      }
    }
    count.textContent = labels.count.replace("{shown}", rows.length).replace("{total}", model.get("rows").length)
      .replace("{chosen}", chosen.length);
  }

  filter.addEventListener("input", draw);
  model.on("change:rows", draw);
  model.on("change:chosen", draw);
  draw();
}

export default { render };
