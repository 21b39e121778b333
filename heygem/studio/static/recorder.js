// Records from the microphone and sends the compressed audio to the kernel as one small message.

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const BITS = 64000;

function render({ model, el }) {
  const labels = model.get("labels");
  const root = element("div", { class: "hg-recorder" }, el);
  const button = element("button", { type: "button" }, root);
  const status = element("span", { "aria-live": "polite" }, root);
  let recorder = null;
  let beganMs = 0;
  let clock = 0;

  function show() {
    const on = recorder !== null;
    button.textContent = on ? `■ ${labels.record_stop}` : `● ${labels.record}`;
    root.classList.toggle("hg-on", on);
  }

  function tick() {
    const elapsedS = (Date.now() - beganMs) / 1000;
    status.textContent = `${elapsedS.toFixed(0)} / ${model.get("max_s")} s`;
    if (elapsedS >= model.get("max_s")) stop();
  }

  function stop() {
    clearInterval(clock);
    if (recorder && recorder.state !== "inactive") recorder.stop();
  }

  async function start() {
    status.textContent = "";
    if (!window.isSecureContext || !navigator.mediaDevices || !window.MediaRecorder) {
      status.textContent = labels.record_insecure;
      return;
    }
    button.disabled = true;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      status.textContent = `${labels.record_refused} (${error.message})`;
      return;
    } finally {
      button.disabled = false;
    }
    const parts = [];
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: BITS });
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", async () => {
      stream.getTracks().forEach((track) => track.stop());  // the browser's red light goes out
      const blob = new Blob(parts, { type: recorder.mimeType });
      recorder = null;
      show();
      status.textContent = labels.record_sending;
      model.send({ kind: "recorded", type: blob.type }, undefined, [await blob.arrayBuffer()]);
      status.textContent = "";
    });
    recorder.start();
    beganMs = Date.now();
    clock = setInterval(tick, 250);
    show();
  }

  button.addEventListener("click", () => (recorder ? stop() : start()));
  show();
  return stop;
}

export default { render };
