// A page whose kernel has ended says so. (Voilà itself ends the kernel of a page that is left.)
(() => {
  const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const kernel = `${config.baseUrl}api/kernels/${config.kernelId}`;
  const lost = document.getElementById("hg-lost");

  // Shown again out of the browser's memory, the page has no kernel any more.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  async function check() {
    if (document.hidden) return;
    try {
      const response = await fetch(kernel, { credentials: "same-origin" });
      lost.hidden = response.status !== 404;
    } catch { lost.hidden = false; }
  }
  lost.querySelector("button").addEventListener("click", () => location.reload());
  document.addEventListener("visibilitychange", check);
  setInterval(check, 15000);
})();
