// Records from the microphone and hands the compressed sound to the kernel as one small message.

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const BITS = 64000;

function render({ model, el }) {
  const say = model.get("labels");
  const root = document.createElement("div");
  root.className = "hg-recorder";
  const button = document.createElement("button");
  button.type = "button";
  const words = document.createElement("span");
  words.setAttribute("aria-live", "polite");
  root.append(button, words);
  el.append(root);
  let recorder = null;
  let began = 0;
  let clock = 0;

  function show() {
    const on = recorder !== null;
    button.textContent = on ? `■ ${say.record_stop}` : `● ${say.record}`;
    root.classList.toggle("hg-on", on);
  }

  function tick() {
    const spent = (Date.now() - began) / 1000;
    words.textContent = `${spent.toFixed(0)} / ${model.get("most_s")} s`;
    if (spent >= model.get("most_s")) stop();
  }

  function stop() {
    clearInterval(clock);
    if (recorder && recorder.state !== "inactive") recorder.stop();
  }

  async function start() {
    words.textContent = "";
    if (!window.isSecureContext || !navigator.mediaDevices || !window.MediaRecorder) {
      words.textContent = say.record_insecure;
      return;
    }
    button.disabled = true;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      words.textContent = `${say.record_refused} (${error.message})`;
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
      words.textContent = say.record_sending;
      model.send({ kind: "recorded", type: blob.type }, undefined, [await blob.arrayBuffer()]);
      words.textContent = "";
    });
    recorder.start();
    began = Date.now();
    clock = setInterval(tick, 250);
    show();
  }

  button.addEventListener("click", () => (recorder ? stop() : start()));
  show();
  return stop;
}

export default { render };
