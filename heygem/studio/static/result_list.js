// Finished videos: cards that are searched, sorted and ticked. Search and order stay in the page.

const ORDERS = { column_date: ["date", -1], column_name: ["name", 1], column_person: ["person", 1], column_sound: ["sound", 1], column_recipe: ["recipe", 1], column_av_corr: ["av_corr", -1], column_length: ["length_s", -1], column_size: ["bytes", -1] };

function render({ model, el }) {
  const labels = model.get("labels");
  const root = element("section", { class: "hg-results", "aria-label": labels.results, "data-lm-suppress-shortcuts": "true" }, el);
  const bar = element("div", { class: "hg-results-bar" }, root);
  const search = element("input", { type: "search", placeholder: labels.search, "aria-label": labels.search }, bar);
  const orderLabel = element("label", { text: labels.sort + " " }, bar);
  const order = element("select", {}, orderLabel);
  for (const key of Object.keys(ORDERS)) element("option", { value: key, text: labels[key] }, order);
  const allLabel = element("label", {}, bar);
  const all = element("input", { type: "checkbox" }, allLabel);
  allLabel.append(" " + labels.choose_all);
  const count = element("output", { "aria-live": "polite" }, bar);
  const list = element("ul", {}, root);
  const none = element("p", { class: "hg-empty-state", text: labels.no_match }, root);
  let number = 0;

  const send = (action, id) => { model.set("request", { action, id, n: ++number }); model.save_changes(); };
  const shown = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [key, sign] = ORDERS[order.value];
    const compare = sign > 0   // texts as a reader sorts them: "anna 2" before "Anna 10"
      ? (a, b) => (a[key] ?? "\uffff").localeCompare(b[key] ?? "\uffff", undefined, { numeric: true })
      : (a, b) => { const [x, y] = [a, b].map((row) => row[key] ?? -Infinity); return x < y ? 1 : x > y ? -1 : 0; };
    return model.get("rows")
      .filter((row) => { const text = [row.name, row.date, row.person, row.sound, row.recipe].join(" ").toLowerCase(); return words.every((word) => text.includes(word)); })
      .sort(compare);
  };
  function choose(ids) { model.set("chosen", ids); model.save_changes(); draw(); }

  function card(row, chosen) {
    const item = element("li", { class: row.id === model.get("selected") ? "hg-selected" : "" });
    item.dataset.id = row.id;
    const play = element("button", { type: "button", class: "hg-picture", "aria-label": `${labels.show}: ${row.name}` }, item);
    if (row.picture) element("img", { src: row.picture, alt: "" }, play);
    element("span", { text: "▶", "aria-hidden": "true" }, play);
    play.addEventListener("click", () => send("show", row.id));
    const title = element("label", { class: "hg-result-name" }, item);
    const box = element("input", { type: "checkbox", "aria-label": `${labels.choose}: ${row.name}` }, title);
    box.checked = chosen.includes(row.id);
    box.addEventListener("change", () => choose(box.checked ? [...model.get("chosen"), row.id] : model.get("chosen").filter((id) => id !== row.id)));
    element("b", { text: row.name, title: row.name }, title);
    const facts = element("dl", {}, item);
    const fact = (label, value) => { if (value) { element("dt", { text: label }, facts); element("dd", { text: value, title: value }, facts); } };
    fact(labels.column_date, row.date.replace("T", " ").slice(0, 16));
    fact(labels.column_person, row.person);
    fact(labels.column_sound, row.sound);
    fact(labels.column_recipe, row.recipe);
    const measures = [row.length_s && labels.check_seconds.replace(/\{[^}]*\}/, row.length_s.toFixed(1)), row.bytes && `${(row.bytes / 1e6).toFixed(1)} MB`];
    fact(labels.column_length, measures.filter(Boolean).join(" · "));
    fact(labels.column_av_corr, row.av_corr === null ? "" : row.av_corr.toFixed(2));
    const buttons = element("div", { class: "hg-result-buttons" }, item);
    const link = element("button", { type: "button", text: labels.copy_link, "aria-label": `${labels.copy_link}: ${row.name}` }, buttons);
    link.addEventListener("click", async () => {
      const address = new URL(row.link, location.href).href;
      try { await navigator.clipboard.writeText(address); link.textContent = labels.link_copied; }
      catch { window.prompt(labels.copy_link, address); }
    });
    element("button", { type: "button", text: labels.delete, "aria-label": `${labels.delete}: ${row.name}` }, buttons)
      .addEventListener("click", () => send("delete", row.id));
    return item;
  }

  function draw() {
    const rows = shown(), chosen = model.get("chosen");
    const focused = root.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    list.replaceChildren(...rows.map((row) => card(row, chosen)));
    if (focused) [...root.querySelectorAll("[aria-label]")].find((node) => node.getAttribute("aria-label") === focused)?.focus();
    all.checked = rows.length > 0 && rows.every((row) => chosen.includes(row.id));
    count.textContent = labels.chosen.replace("{chosen}", chosen.length).replace("{shown}", rows.length).replace("{total}", model.get("rows").length);
    none.style.display = rows.length || !model.get("rows").length ? "none" : "";
    root.style.display = model.get("rows").length ? "" : "none";
  }

  search.addEventListener("input", draw);
  order.addEventListener("change", draw);
  all.addEventListener("change", () => choose(all.checked ? shown().map((row) => row.id) : []));
  for (const name of ["rows", "chosen", "selected"]) model.on(`change:${name}`, draw);
  draw();
}

export default { render };
