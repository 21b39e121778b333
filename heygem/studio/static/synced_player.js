// Several videos in step: one play, one time, one speed for all; one of them is audible. They come by
// HTTP as blobs: the notebook server does not answer range requests, and without them a browser
// cannot seek.

const MAX_DRIFT_S = 0.06;   // a video that drifts further apart is set to the position of the leading one

function render({ model, el }) {
  const labels = model.get("labels");
  const root = element("div", { class: "hg-many", tabindex: "0", role: "group", "aria-label": labels.side }, el);
  const stage = element("div", { class: "hg-panels" }, root);
  const controls = element("div", { class: "hg-controls" }, root);
  const back = element("button", { text: "◀", title: labels.back, "aria-label": labels.back }, controls);
  const play = element("button", { text: "▶ " + labels.play, class: "hg-play" }, controls);
  const forward = element("button", { text: "▶|", title: labels.forward, "aria-label": labels.forward }, controls);
  const seeker = element("input", { type: "range", min: 0, max: 1000, value: 0, class: "hg-seek", "aria-label": labels.timeline }, controls);
  const readout = element("output", {}, controls);
  const rate = element("select", { "aria-label": labels.rate, title: labels.rate }, controls);
  for (const each of [0.25, 0.5, 1, 1.5, 2]) element("option", { value: each, text: `${each}×` }, rate);
  rate.value = "1";
  const loopLabel = element("label", {}, controls);
  const loop = element("input", { type: "checkbox" }, loopLabel);
  loopLabel.append(" " + labels.loop);
  const zoomLabel = element("label", {}, controls);
  const zoom = element("input", { type: "checkbox", class: "hg-zoom" }, zoomLabel);
  zoomLabel.append(" " + labels.zoom);

  let panels = [];        // { video, soundButton, url, blob }
  let stopped = false;

  const lead = () => panels[Math.min(model.get("audible"), panels.length - 1)]?.video;
  // The longest video leads where the audible one has ended.
  const length = () => Math.max(0, ...panels.map((p) => p.video.duration || 0));
  const playing = () => panels.some((p) => !p.video.paused && !p.video.ended);
  const now = () => Math.max(0, ...panels.map((p) => p.video.currentTime || 0));

  async function load(panel) {
    const url = panel.url;
    try {
      const response = await fetch(address(url), { credentials: "same-origin" });
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
      const blob = await response.blob();
      if (stopped || !panels.includes(panel)) return;
      panel.blob = URL.createObjectURL(blob);
      panel.video.src = panel.blob;
      panel.video.addEventListener("loadeddata", () => {
        panel.video.dataset.shown = url;
        if (panels.every((p) => p.video.dataset.shown)) { model.set("ready", true); saveIfConnected(model); }
      }, { once: true });
    } catch (error) {
      panel.note.textContent = labels.load_failed.replace("{url}", url) + ` (${error.message})`;
    }
  }

  function build() {
    for (const panel of panels) if (panel.blob) URL.revokeObjectURL(panel.blob);
    stage.replaceChildren();
    panels = model.get("videos").map((each, k) => {
      const figure = element("figure", {}, stage);
      const view = element("div", { class: "hg-view" }, figure);
      const video = element("video", { playsinline: "", preload: "auto", "aria-label": each.name }, view);
      const [x, y] = each.mouth;
      video.style.transformOrigin = `${100 * x}% ${100 * y}%`;
      const note = element("div", { class: "hg-note" }, view);
      const line = element("figcaption", {}, figure);
      const badge = element("b", { text: each.letter }, line);
      badge.style.background = each.colour;
      element("span", { text: each.name, title: each.name }, line);
      const soundButton = element("button", { text: "♪", title: labels.listen_to, "aria-label": `${labels.listen_to} ${each.letter}` }, line);
      soundButton.addEventListener("click", () => { model.set("audible", k); model.save_changes(); });
      return { video, soundButton, note, url: each.url, blob: null };
    });
    stage.style.setProperty("--hg-columns", Math.min(panels.length, panels.length === 4 ? 4 : 3));
    root.style.display = panels.length ? "" : "none";
    panels.forEach(load);
    updateMuted();
  }

  function updateMuted() {
    panels.forEach((panel, k) => {
      const on = k === model.get("audible");
      panel.video.muted = !on;
      panel.soundButton.setAttribute("aria-pressed", on);
    });
  }

  function start() {
    const from = now() >= length() - 0.05 ? 0 : now();
    seek(from);
    for (const { video } of panels) {
      video.playbackRate = Number(rate.value);
      if (from < (video.duration || 0)) {
        video.play().catch(() => { video.muted = true; return video.play(); }).catch(() => {});
      }
    }
  }
  function pause() {
    const at = lead()?.currentTime ?? 0;
    for (const { video } of panels) video.pause();
    seek(Math.max(at, lead()?.ended ? now() : 0));
  }
  function toggle() { playing() ? pause() : start(); }
  function seek(time) {
    const at = Math.max(0, Math.min(time, length() - 0.001));
    for (const { video } of panels) {
      if (video.readyState) video.currentTime = Math.min(at, Math.max(0, (video.duration || 0) - 0.001));
    }
  }
  function step(count) { pause(); seek(now() + count * model.get("frame_s")); }

  function draw() {
    if (stopped) return;
    const total = length(), at = now();
    if (document.activeElement !== seeker || !seeker.matches(":active")) {
      seeker.value = total ? 1000 * at / total : 0;
      fill(seeker);
    }
    readout.textContent = `${at.toFixed(2)} / ${total.toFixed(2)} s`;
    play.textContent = playing() ? "❚❚ " + labels.pause : "▶ " + labels.play;
    const first = lead();
    if (first && !first.paused && !first.ended) {
      for (const { video } of panels) {
        const due = first.currentTime < (video.duration || 0);
        if (video !== first && due && Math.abs(video.currentTime - first.currentTime) > MAX_DRIFT_S) {
          video.currentTime = first.currentTime;
        }
      }
    }
    if (loop.checked && panels.length && panels.every((p) => p.video.ended)) { seek(0); start(); }
    requestAnimationFrame(draw);
  }

  play.addEventListener("click", toggle);
  back.addEventListener("click", () => step(-1));
  forward.addEventListener("click", () => step(1));
  seeker.addEventListener("input", () => seek(seeker.value / 1000 * length()));
  rate.addEventListener("change", () => panels.forEach((p) => { p.video.playbackRate = Number(rate.value); }));
  zoom.addEventListener("change", () => stage.classList.toggle("hg-zoomed", zoom.checked));
  root.addEventListener("keydown", (event) => {
    if (event.target !== root) return;
    const action = { " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1) }[event.key];
    if (action) { event.preventDefault(); event.stopPropagation(); action(); }
  });
  model.on("change:videos", build);
  model.on("change:audible", updateMuted);
  build();
  requestAnimationFrame(draw);
  return () => {
    stopped = true;
    for (const panel of panels) if (panel.blob) URL.revokeObjectURL(panel.blob);
  };
}

export default { render };
