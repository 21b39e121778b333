// Gives the parts of stock widgets the names that their widgets have: once for a page.
const BOXES = ".widget-box, .jupyter-widget-tab, .widget-tab, .widget-accordion, .jupyter-widget-accordion, .jupyter-widget-Collapse";
const PARTS = ".jupyter-widgets select, .jupyter-widgets .noUi-handle, .jupyter-widgets textarea, .jupyter-widgets input, img.jupyter-widgets";

// The widget's label; else its tooltip, which otherwise describes it.
function nameAndHelp(part) {
  const widget = part.closest(".widget-inline-hbox, .jupyter-widgets");
  const label = widget?.querySelector(".widget-label");
  const text = (title) => title && title !== "null" ? title.trim() : "";  // "null": without a tooltip
  const title = text(widget?.title) || text(label?.title);
  const name = (label?.style.display === "none" ? "" : label?.textContent) || title || text(part.title) || part.placeholder || "";
  return [name.trim(), title];
}
function set(part, attribute, text) {
  if (text && part.getAttribute(attribute) !== text) part.setAttribute(attribute, text);
}
function nameAll() {
  for (const part of document.querySelectorAll(PARTS)) {
    if (part.closest(".jupyter-widgets").matches(BOXES)) continue;  // of a widget that is no stock one, which names its own
    if (part.tagName === "IMG") {  // described by the text below or above it
      const text = ((part.nextElementSibling ?? part.previousElementSibling)?.textContent ?? "").trim();
      if (part.getAttribute("alt") !== text) part.alt = text;
      continue;
    }
    const [name, help] = nameAndHelp(part);
    set(part, "aria-label", name);
    if (help !== name) set(part, "aria-description", help);
  }
  for (const bar of document.querySelectorAll(".jupyter-widgets .progress")) {
    if (!bar.getAttribute("aria-hidden")) bar.setAttribute("aria-hidden", "true");  // the text beside it says the same
  }
}

// A click opens a folder of a file list. Keys walk past it, as they must to reach the files below; Enter opens it.
let byKeys = false;
function fileList(event) { return event.target.closest?.(".hg-picker select"); }
function walkPastFolders() {
  document.addEventListener("pointerdown", () => { byKeys = false; }, true);
  document.addEventListener("keydown", (event) => {
    const list = fileList(event);
    if (!list) return;
    byKeys = event.key !== "Enter";
    if (byKeys) return;
    event.preventDefault();
    event.stopPropagation();
    list.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);
  document.addEventListener("change", (event) => {
    const chosen = [...(byKeys && fileList(event)?.selectedOptions || [])];
    if (chosen.length === 1 && chosen[0].text.endsWith("/")) event.stopImmediatePropagation();
  }, true);
}

function render({ el }) {
  el.style.display = "none";
  if (window.hgNames) return;
  let waiting = false;
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; nameAll(); }); } };
  window.hgNames = new MutationObserver(soon);
  walkPastFolders();
  window.hgNames.observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["title", "src"] });
  nameAll();
}

export default { render };
