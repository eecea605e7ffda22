// A page that is renewed every few seconds, while nobody works in it.
import "./live.js";

const main = document.getElementById("main");

async function renew() {
  if (document.hidden || (main.contains(document.activeElement) && document.activeElement !== main)) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html", "andon-part": "main" } });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (fresh && getSelection().isCollapsed) main.replaceChildren(...fresh.childNodes);
  } catch { /* the bar at the top says that the server is away */ }
}

setInterval(renew, 5000);
