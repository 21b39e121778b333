// Turns browser notifications on and off, and shows those that the kernel sends while one looks elsewhere.
const KEY = "heygem-notify";

function render({ model, el }) {
  if (!("Notification" in window)) return; // a page over plain HTTP from another machine
  const labels = model.get("labels");
  const button = element("button", { type: "button", class: "hg-notify" }, el);

  const isOn = () => Notification.permission === "granted" && localStorage.getItem(KEY) === "on";
  const update = () => {
    const isBlocked = Notification.permission === "denied";
    button.disabled = isBlocked;
    button.setAttribute("aria-pressed", String(isOn()));
    button.textContent = labels[isBlocked ? "notify_blocked" : isOn() ? "notify_on" : "notify_ask"];
  };
  button.addEventListener("click", async () => {
    const turnOn = !isOn();
    if (turnOn && Notification.permission === "default") await Notification.requestPermission();
    localStorage.setItem(KEY, turnOn ? "on" : "off");
    update();
  });
  const show = () => {
    const { title, body } = model.get("message");
    if (!title || !isOn() || document.hasFocus()) return; // who looks at the page sees it there
    const notification = new Notification(title, { body, tag: KEY });
    notification.onclick = () => { window.focus(); notification.close(); };
  };
  model.on("change:message", show);
  update();
  return () => model.off("change:message", show);
}
export default { render };
