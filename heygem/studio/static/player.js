// Source and result side by side over one time axis. Previews come as blobs: they are short, and
// their files may be replaced while they play. Whole videos are streamed.

function render({ model, el }) {
  const labels = model.get("labels");
  const root = element("div", { class: "hg-player", "data-lm-suppress-shortcuts": "true", tabindex: "0", role: "group", "aria-label": labels.result }, el);
  const stage = element("div", { class: "hg-stage" }, root);
  const figures = {};
  const captions = {};
  for (const name of ["source", "result"]) {
    const figure = element("figure", { class: `hg-${name}` }, stage);
    const video = element("video", { playsinline: "", preload: "auto", "aria-label": labels[name] }, figure);
    video.muted = name === "source";
    captions[name] = element("figcaption", { text: labels[name] }, figure);
    figures[name] = video;
  }
  const { source, result } = figures;
  const live = element("img", { class: "hg-live", alt: labels.live }, result.parentElement);
  const empty = element("div", { class: "hg-empty", text: labels.no_video }, stage);

  const controls = element("div", { class: "hg-controls" }, root);
  const back = element("button", { text: "◀", title: labels.back, "aria-label": labels.back }, controls);
  const play = element("button", { text: "▶ " + labels.play, class: "hg-play" }, controls);
  const forward = element("button", { text: "▶|", title: labels.forward, "aria-label": labels.forward }, controls);
  const loopLabel = element("label", {}, controls);
  const loop = element("input", { type: "checkbox" }, loopLabel);
  loopLabel.append(" " + labels.loop);
  const mode = element("select", { "aria-label": labels.side }, controls);
  for (const name of ["side", "wipe", "result_only"]) element("option", { value: name, text: labels[name] }, mode);
  const wipe = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": labels.position, title: labels.position }, controls);
  const rateLabel = element("label", { text: labels.rate + " " }, controls);
  const rate = element("select", {}, rateLabel);
  for (const value of [0.25, 0.5, 1, 1.5, 2]) element("option", { value, text: `${value}×` }, rate);
  rate.value = "1";
  const full = element("button", { type: "button", text: labels.full_screen }, controls);
  const download = element("a", { class: "hg-download", text: `⬇ ${labels.download}` }, controls);
  const help = element("button", { type: "button", text: "?", title: labels.keys_title, "aria-label": labels.keys_title, class: "hg-help" }, controls);
  const readout = element("output", {}, controls);
  const keys = element("dialog", { class: "hg-keys", "aria-label": labels.keys_title }, root);
  fillKeys();
  // Where there is no timeline to click on.
  const seekBar = element("input", { type: "range", class: "hg-seek", min: 0, max: 1, step: 0.001, value: 0, "aria-label": labels.seek }, root);

  const timeline = element("div", { class: "hg-timeline", title: labels.timeline }, root);
  const audio = element("div", { class: "hg-audio" }, timeline);
  const curves = element("div", { class: "hg-curves" }, timeline);
  const playhead = element("div", { class: "hg-playhead" }, timeline);
  const overview = element("div", { class: "hg-overview", title: labels.overview }, root);
  const whole = element("div", {}, overview);
  const span = element("div", { class: "hg-span" }, overview);

  const loaded = {};   // element name -> URL shown
  for (const name of ["source", "result"]) figures[name].addEventListener("error", () => { if (loaded[name]) empty.textContent = labels.load_failed.replace("{url}", loaded[name]); });
  const blobs = {};
  let stopped = false;

  async function load(name) {
    const url = model.get(`${name}_url`);
    const video = figures[name];
    if (!url) { video.removeAttribute("src"); video.load(); loaded[name] = ""; showEmpty(); return; }
    if (loaded[name] === url) return;
    loaded[name] = url;
    if (!model.get("streamed") && !(await fetched(name, url))) return;
    const time = video.currentTime || 0;
    const playing = !result.paused;
    video.src = blobs[name] || address(url);
    video.addEventListener("loadeddata", () => {
      if (loaded[name] !== url) return;
      video.currentTime = Math.min(time, Math.max(0, (video.duration || 0) - 0.05));
      result.playbackRate = source.playbackRate = Number(rate.value);
      if (name === "result" && (playing || model.get("autoplay"))) start();
      if (name === "source" && !result.paused) { video.currentTime = result.currentTime; video.play().catch(() => {}); }
      showEmpty();
      video.dataset.shown = url;
      model.set(`${name}_shown`, url);
      saveIfConnected(model);
    }, { once: true });
  }

  // Whether the video is here as a blob, and still the one that is wanted.
  async function fetched(name, url) {
    let blob;
    try {
      const response = await fetch(address(url), { credentials: "same-origin" });
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
      blob = await response.blob();
    } catch (error) {
      if (loaded[name] === url) empty.textContent = labels.load_failed.replace("{url}", url) + ` (${error.message})`;
      return false;
    }
    if (loaded[name] !== url || stopped) return false;   // a newer one was requested meanwhile
    if (blobs[name]) URL.revokeObjectURL(blobs[name]);
    blobs[name] = URL.createObjectURL(blob);
    return true;
  }

  function showEmpty() {
    empty.textContent = labels.no_video;
    const isLive = model.get("live").byteLength > 0;
    stage.classList.toggle("hg-has-result", Boolean(result.src));
    empty.style.display = isLive || result.src || source.src ? "none" : "flex";
  }

  // The frame that is being drawn: in place of a result, or in the corner of an older one.
  function showLive() {
    const jpeg = model.get("live");
    if (live.src) URL.revokeObjectURL(live.src);
    if (jpeg.byteLength) live.src = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
    else live.removeAttribute("src");
    showEmpty();
  }

  function start() {
    result.play().catch(() => { result.muted = true; return result.play(); }).catch(() => {});
    if (source.src) source.play().catch(() => {});
  }
  function pause() { result.pause(); source.pause(); source.currentTime = result.currentTime; }
  function toggle() { if (result.src) { result.paused ? start() : pause(); } }
  function seek(time) {
    const at = Math.max(0, Math.min(time, (result.duration || 0) - 0.001));
    result.currentTime = at;
    if (source.src) source.currentTime = at;
  }
  function step(count) { pause(); seek(result.currentTime + count * model.get("frame_s")); }

  function fillKeys() {
    element("h3", { text: labels.keys_title }, keys);
    const list = element("dl", { class: "hg-keys-list" }, keys);
    const rows = [["Space", "keys_play"], ["← · →", "keys_step"], ["M", "keys_mode"], ["L", "keys_loop"], ["F", "keys_full"], ["Ctrl+Z · Ctrl+Y", "keys_undo"], ["A · B · C", "keys_keep"], ["?", "keys_help"]];
    for (const [key, label] of rows) {
      element("dt", {}, list).append(...key.split(" ").map((word) => word.length === 1 && word === "·" ? " · " : element("kbd", { text: word })));
      element("dd", { text: labels[label] }, list);
    }
    element("button", { type: "button", text: labels.keys_close }, keys).addEventListener("click", () => keys.close());
  }
  function nextMode() {
    const modes = ["side", "wipe", "result_only"];
    model.set("mode", modes[(modes.indexOf(model.get("mode")) + 1) % modes.length]);
    model.save_changes();
  }
  function fullScreen() { document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen().catch(() => {}); }
  function name() {
    for (const side of ["source", "result"]) {
      const text = model.get("captions")[side] || labels[side];
      captions[side].textContent = text;
      figures[side].setAttribute("aria-label", text);
    }
  }

  function layout() {
    const name = model.get("mode");
    mode.value = name;
    stage.className = `hg-stage hg-${name}` + (model.get("stale") ? " hg-stale" : "") + (result.src ? " hg-has-result" : "");
    wipe.style.display = name === "wipe" ? "" : "none";
    stage.style.setProperty("--hg-wipe", `${model.get("wipe")}%`);
    wipe.value = model.get("wipe");
    loop.checked = model.get("loop");
    result.loop = source.loop = loop.checked;
  }
  function updateSpan() {
    const total = model.get("total_s") || 1;
    span.style.left = `${100 * model.get("start_s") / total}%`;
    span.style.width = `${100 * model.get("length_s") / total}%`;
    overview.style.display = model.get("overview") ? "" : "none";
    const hasTimeline = model.get("audio") || model.get("curves");
    timeline.style.display = hasTimeline ? "" : "none";
    seekBar.style.display = hasTimeline || !model.get("result_url") ? "none" : "";
    download.style.display = model.get("downloadable") && model.get("result_url") ? "" : "none";
    download.href = address(model.get("result_url") || "");
    download.download = decodeURIComponent((model.get("result_url") || "").split("/").pop());
  }
  function hasLength() { return seekBar.style.display !== "none" && Number.isFinite(result.duration) && result.duration > 0; }
  function draw() {
    if (stopped) return;
    const length = model.get("length_s") || 1;
    playhead.style.left = `${Math.min(100, 100 * result.currentTime / length)}%`;
    const at = model.get("start_s") + result.currentTime;
    readout.textContent = hasLength() ? `${at.toFixed(2)} / ${result.duration.toFixed(2)} s` : `${at.toFixed(2)} s`;
    if (hasLength() && document.activeElement !== seekBar) seekBar.value = result.currentTime / result.duration;
    fill(seekBar);
    play.textContent = result.paused ? "▶ " + labels.play : "❚❚ " + labels.pause;
    if (!result.paused && source.src && result.currentTime < source.duration && Math.abs(source.currentTime - result.currentTime) > 0.06) {
      source.currentTime = result.currentTime;
    }
    requestAnimationFrame(draw);
  }

  rate.addEventListener("change", () => { result.playbackRate = source.playbackRate = Number(rate.value); });
  full.addEventListener("click", fullScreen);
  help.addEventListener("click", () => keys.showModal());
  seekBar.addEventListener("input", () => { fill(seekBar); if (hasLength()) seek(Number(seekBar.value) * result.duration); });
  play.addEventListener("click", toggle);
  back.addEventListener("click", () => step(-1));
  forward.addEventListener("click", () => step(1));
  result.addEventListener("ended", () => source.pause());
  loop.addEventListener("change", () => { model.set("loop", loop.checked); model.save_changes(); });
  mode.addEventListener("change", () => { model.set("mode", mode.value); model.save_changes(); });
  wipe.addEventListener("input", () => { model.set("wipe", Number(wipe.value)); layout(); });
  wipe.addEventListener("change", () => model.save_changes());
  timeline.addEventListener("click", (event) => {
    const box = timeline.getBoundingClientRect();
    seek((event.clientX - box.left) / box.width * model.get("length_s"));
  });
  overview.addEventListener("click", (event) => {
    const box = overview.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * model.get("total_s") - model.get("length_s") / 2;
    model.set("clicked_start_s", Math.max(0, at));
    model.save_changes();
  });
  // In a text field every key is a letter; buttons and sliders keep the keys that they use themselves.
  function isTyping(node) { return node.isContentEditable || /^(TEXTAREA|SELECT)$/.test(node.tagName) || (node.tagName === "INPUT" && !/^(checkbox|range|button)$/.test(node.type)); }
  function isVisible() { return root.offsetParent !== null || document.fullscreenElement === root; }
  const isApp = document.body.classList.contains("hg-page");
  function pressed(event) {
    if (keys.open || !isVisible() || isTyping(event.target)) return;
    const inside = root.contains(event.target);
    if (!inside && !isApp) return;   // in JupyterLab, the keys outside are its own
    const isControl = event.target !== root && event.target !== document.body && /^(BUTTON|INPUT|A|SUMMARY)$/.test(event.target.tagName) || event.target.getAttribute?.("role") === "slider";
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    let action;
    if (event.ctrlKey || event.metaKey) action = { z: () => model.send({ kind: event.shiftKey ? "redo" : "undo" }), y: () => model.send({ kind: "redo" }) }[key];
    else if (event.altKey) return;
    else {
      action = { m: nextMode, l: () => loop.click(), f: fullScreen, "?": () => keys.showModal() }[key];
      if ("abc".includes(key)) action = () => model.send({ kind: `keep${key.toUpperCase()}` });
      if (!action && !isControl) action = { " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1) }[event.key];
    }
    if (action) { event.preventDefault(); event.stopPropagation(); action(); }
  }
  document.addEventListener("keydown", pressed);

  model.on("change:source_url", () => load("source"));
  model.on("change:result_url", () => { load("result"); updateSpan(); });
  model.on("change:audio", () => { audio.innerHTML = model.get("audio"); updateSpan(); });
  model.on("change:curves", () => { curves.innerHTML = model.get("curves"); updateSpan(); });
  model.on("change:overview", () => { whole.innerHTML = model.get("overview"); updateSpan(); });
  model.on("change:captions", name);
  model.on("change:live", showLive);
  for (const name of ["mode", "loop", "wipe", "stale"]) model.on(`change:${name}`, layout);
  for (const name of ["start_s", "length_s", "total_s"]) model.on(`change:${name}`, updateSpan);

  audio.innerHTML = model.get("audio");
  curves.innerHTML = model.get("curves");
  whole.innerHTML = model.get("overview");
  name(); layout(); updateSpan(); showLive(); load("source"); load("result");
  requestAnimationFrame(draw);
  return () => { stopped = true; document.removeEventListener("keydown", pressed); for (const url of Object.values(blobs)) URL.revokeObjectURL(url); };
}

export default { render };
