// Gives the parts of stock widgets the names that their widgets have: once for a page.
const BOXES = ".widget-box, .jupyter-widget-tab, .widget-tab, .widget-accordion, .jupyter-widget-accordion, .jupyter-widget-Collapse";
const PARTS = ".jupyter-widgets select, .jupyter-widgets .noUi-handle, .jupyter-widgets textarea, .jupyter-widgets input, img.jupyter-widgets";

function nameOf(part) {
  const widget = part.closest(".widget-inline-hbox, .jupyter-widgets");
  const label = widget?.querySelector(".widget-label");
  const title = widget?.title === "null" ? "" : widget?.title;  // of a widget without a tooltip
  return title || (label?.style.display === "none" ? "" : label?.textContent) || label?.title || part.title || part.placeholder || "";
}
function nameAll() {
  for (const part of document.querySelectorAll(PARTS)) {
    if (part.closest(".jupyter-widgets").matches(BOXES)) continue;  // of a widget that is no stock one, which names its own
    // A picture is described by the text below or above it.
    const name = (part.tagName === "IMG" ? (part.nextElementSibling ?? part.previousElementSibling)?.textContent ?? "" : nameOf(part)).trim();
    if (part.tagName === "IMG") { if (part.getAttribute("alt") !== name) part.alt = name; }
    else if (name && part.getAttribute("aria-label") !== name) part.setAttribute("aria-label", name);
  }
  for (const bar of document.querySelectorAll(".jupyter-widgets .progress")) {
    if (!bar.getAttribute("aria-hidden")) bar.setAttribute("aria-hidden", "true");  // the text beside it says the same
  }
}

function render({ el }) {
  el.style.display = "none";
  if (window.hgNames) return;
  let waiting = false;
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; nameAll(); }); } };
  window.hgNames = new MutationObserver(soon);
  window.hgNames.observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["title", "src"] });
  nameAll();
}

export default { render };
