// A page that is renewed every few seconds.
import { PART_MS } from "./live.js";
import { renewed } from "./morph.js";

const main = document.getElementById("main");
let asking = false;

async function renew() {
  if (document.hidden || document.body.dataset.asking || asking) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html", "andon-part": "main" }, signal: AbortSignal.timeout(PART_MS) });
    // Not where nobody is logged in: then the page is loaded anew. Also where the answer is that there is no such alarm any more.
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (fresh && !answer.redirected) renewed(main, fresh);
  } catch { /* the bar at the top says that the server is away */ }
  asking = false;
}

setInterval(renew, 5000);
