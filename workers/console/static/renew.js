// A page that is renewed every few seconds.
import { renewed } from "./morph.js";

const main = document.getElementById("main");

async function renew() {
  if (document.hidden || document.body.dataset.asking) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html", "andon-part": "main" } });
    if (answer.redirected) return; // logged out: the page is loaded anew
    // Also where the answer is that there is no such alarm any more.
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (fresh) renewed(main, fresh);
  } catch { /* the bar at the top says that the server is away */ }
}

setInterval(renew, 5000);
