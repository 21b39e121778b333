// Send dropped, pasted or chosen files to the server in parts, with a bar for each.
const RETRIES_MS = [500, 1000, 2000, 4000, 8000, 15000];

function call(method, path, body, headers = {}) {
  const xsrf = document.cookie.match(/\b_xsrf=([^;]*)/)?.[1] ?? "";
  return fetch(`${baseUrl()}heygem/api/uploads${path}`, { method, body, credentials: "same-origin", headers: { "X-XSRFToken": xsrf, ...headers } });
}
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function refusal(response) {
  try {
    const { message, seen, remedy } = await response.json();
    return [message, seen, remedy].filter(Boolean).join("; ") || response.statusText;
  } catch { return response.statusText; }
}

// Sends one file; resolves to what the server answered to its last part. Goes on where it broke off.
async function send(file, onProgress, signal) {
  let attempt = 0, upload = null;
  for (;;) {
    try {
      signal.throwIfAborted();
      if (!upload) {
        const response = await call("POST", "", JSON.stringify({ name: file.name, size: file.size, modified: file.lastModified }), { "Content-Type": "application/json" });
        if (!response.ok) throw Object.assign(new Error(await refusal(response)), { final: response.status < 500 || response.status === 507 });
        upload = await response.json();
        signal.addEventListener("abort", () => call("DELETE", `/${upload.id}`));
      }
      onProgress(upload.offset);
      const part = file.slice(upload.offset, upload.offset + upload.part_bytes);
      const response = await call("PATCH", `/${upload.id}`, await part.arrayBuffer(), { "Upload-Offset": upload.offset, "Content-Type": "application/octet-stream" });
      if (response.status === 409) { upload.offset = (await response.json()).offset; continue; }
      if (!response.ok) throw Object.assign(new Error(await refusal(response)), { final: response.status < 500 || response.status === 507 });
      const answer = await response.json();
      upload.offset = answer.offset;
      attempt = 0;
      if (answer.path) { onProgress(file.size); return answer; }
    } catch (error) {
      if (error.final || signal.aborted || attempt >= RETRIES_MS.length) throw error;
      await wait(RETRIES_MS[attempt++]);
      upload = null;
    }
  }
}

function render({ model, el }) {
  const labels = model.get("labels");
  const root = element("div", { class: "hg-upload" }, el);
  const zone = element("label", { class: "hg-drop" }, root);
  const input = element("input", { type: "file", accept: model.get("suffixes").join(",") }, zone);
  if (model.get("several")) input.multiple = true;
  if (labels.title) input.setAttribute("aria-label", `${labels.title}: ${labels.upload_choose}`);
  element("span", { class: "hg-drop-button", text: labels.upload_choose }, zone);
  element("span", { text: labels.upload_drop }, zone);
  const list = element("ul", { "aria-live": "polite" }, root);
  let active = 0, chain = Promise.resolve();

  function add(files) {
    for (const file of model.get("several") ? files : [...files].slice(0, 1)) {
      const row = element("li", {}, list);
      element("span", { class: "hg-upload-name", text: file.name }, row);
      const bar = element("progress", { max: Math.max(1, file.size), value: 0, "aria-label": file.name }, row);
      const state = element("span", { class: "hg-upload-state" }, row);
      const button = element("button", { type: "button", text: labels.upload_cancel }, row);
      const dot = file.name.lastIndexOf(".");
      if (!model.get("suffixes").includes(file.name.slice(dot).toLowerCase())) {
        bar.remove(); row.setAttribute("role", "alert");
        state.textContent = labels.upload_wrong_kind;
        button.addEventListener("click", () => row.remove());
        continue;
      }
      start(file, row, bar, state, button);
    }
  }
  function start(file, row, bar, state, button) {
    const control = new AbortController();
    let failed = false;
    button.onclick = () => {
      if (!failed) { control.abort(); row.remove(); return; }
      row.removeAttribute("role");
      button.textContent = labels.upload_cancel;
      start(file, row, bar, state, button);
    };
    setBusy(1);
    // One after the other: the connection is the narrow place, and files arrive in their order.
    chain = chain.then(async () => {
      const began = performance.now();
      let first = null;
      try {
        const answer = await send(file, (done) => {
          first ??= done;
          bar.value = done;
          const seconds = (performance.now() - began) / 1000;
          const rate = (done - first) / Math.max(seconds, 0.2);
          const left = rate > 0 ? ` · ${Math.ceil((file.size - done) / rate)} s` : "";
          state.textContent = `${(done / 1e6).toFixed(1)} / ${(file.size / 1e6).toFixed(1)} MB${left}`;
        }, control.signal);
        model.send({ kind: "uploaded", name: answer.name });
        bar.remove(); button.remove();
        row.classList.add("hg-upload-done");
        state.textContent = `✓ ${labels.upload_done}`;
        setTimeout(() => row.remove(), 6000);
      } catch (error) {
        if (!control.signal.aborted) {
          failed = true;
          row.setAttribute("role", "alert");
          state.textContent = `${labels.upload_failed} ${error.message}`;
          button.textContent = labels.upload_retry;
        }
      } finally { setBusy(-1); }
    });
  }
  function setBusy(change) {
    active += change;
    model.set("busy", active > 0);
    model.save_changes();
  }

  input.addEventListener("change", () => { add(input.files); input.value = ""; });
  const over = (event) => { if (event.dataTransfer?.types.includes("Files")) { event.preventDefault(); event.stopPropagation(); zone.classList.add("hg-over"); } };
  root.addEventListener("dragenter", over);
  root.addEventListener("dragover", over);
  root.addEventListener("dragleave", () => zone.classList.remove("hg-over"));
  root.addEventListener("drop", (event) => {
    event.preventDefault(); event.stopPropagation();
    zone.classList.remove("hg-over");
    add(event.dataTransfer.files);
  });
  // A file pasted while this place has the focus goes here; pasted elsewhere on the page, to the
  // first place in view for files of its kind.
  root.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) { event.preventDefault(); add(event.clipboardData.files); } });
  const pasted = (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    const fits = (file) => (file.type.startsWith("audio/") ? "audio" : "video") === model.get("kind");
    if (event.defaultPrevented || !files.length || !files.every(fits) || !root.offsetParent) return;
    event.preventDefault();
    add(files);
  };
  document.addEventListener("paste", pasted);
  // A file that misses the place would otherwise replace the page.
  const keep = (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); };
  addEventListener("dragover", keep);
  addEventListener("drop", keep);
  const leaving = (event) => { if (active) { event.preventDefault(); event.returnValue = ""; } };
  addEventListener("beforeunload", leaving);
  return () => { document.removeEventListener("paste", pasted); removeEventListener("dragover", keep); removeEventListener("drop", keep); removeEventListener("beforeunload", leaving); };
}

export default { render };
