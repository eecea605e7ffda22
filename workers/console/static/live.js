// Keeps the lines, the counts and the clock of every page true, and says loud when it can't.
const WAIT_MS = 6000;
const ANEW_MS = 12000; // silent for so long, and the connection may have died without a word, as where the radio changes
const ANSWER_MS = 3000;
const AT_ONCE = 5; // so many connections a browser keeps beside the stream's
const TOLD_MS = 60000; // what was done is no news by then
const PRESS_MS = 2000; // no press holds news up for longer: something may lie on a tablet
const body = document.body;
const wall = body.classList.contains("wall");
const connection = document.getElementById("connection");
const holder = document.getElementById("lines");
const said = document.getElementById("said");
const badge = document.getElementById("unacknowledged");
const held = new Map(); // box → the newest that it shall show once the press is over
let pressed = null, pressedAt = 0;
addEventListener("pointerdown", (event) => { pressed = event.target; pressedAt = performance.now(); }, true);
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => { pressed = null; setTimeout(showHeld); }, true);
let heardAt = performance.now(), triedAt = heardAt, source = null, comingBack = false, trying = false;
let answered = 0; // so often did the server answer while its stream said nothing
let fault = connection.textContent;
export const clock = { offset: Number(body.dataset.now) - Date.now() };

/** Replaces what a box holds, and leaves the focus where it was. */
export function swap(box, html) {
  // Not between the press and the release of a button: the click would fall into the void.
  if (pressed && box.contains(pressed) && performance.now() - pressedAt < PRESS_MS) { held.set(box, html); return; }
  held.delete(box); // older than this
  const key = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  box.innerHTML = html;
  if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function showHeld() {
  for (const [box, html] of [...held]) swap(box, html);
}

function showConnection() {
  const lost = performance.now() - heardAt > WAIT_MS;
  body.classList.toggle("lost", lost || Boolean(fault));
  const why = answered < 2 ? "NO CONNECTION to this page's server" : "NOTHING NEW COMES THROUGH, although this page's server answers. Perhaps a proxy or a virus scanner holds its stream back";
  const words = lost ? `${why}: what you see is old.` : fault ? `WHAT YOU SEE MAY BE OLD: ${fault}` : "";
  if (connection.textContent !== words) connection.textContent = words;
  connection.hidden = !words;
}

function connect() {
  source?.close();
  triedAt = performance.now();
  source = new EventSource(wall ? "/events?tiles=true" : "/events");
  const heard = (name, act) => source.addEventListener(name, (event) => { heardAt = performance.now(); answered = 0; act(JSON.parse(event.data)); showConnection(); });
  heard("beat", ({ now_ms, fault: why }) => { clock.offset = now_ms - Date.now(); fault = why; });
  heard("lines", ({ html, said: words, unacknowledged }) => {
    swap(holder, html);
    if (said.textContent !== words) said.textContent = words;
    badge.hidden = unacknowledged === 0;
    badge.querySelector(".number").textContent = unacknowledged;
  });
  for (const name of ["alarms", "tiles"]) heard(name, (detail) => document.dispatchEvent(new CustomEvent(`andon:${name}`, { detail })));
  source.addEventListener("error", () => {
    // A closed source (the server refused: logged out, or too many) does not come back by itself.
    if (source.readyState === EventSource.CLOSED && !comingBack) { comingBack = true; comeBack(); }
  });
}
// Only now has every module of the page begun to listen: what comes first is all that stands, and comes once.
document.addEventListener("DOMContentLoaded", connect);
setInterval(() => {
  showHeld();
  showConnection();
  if (source && !comingBack && performance.now() - Math.max(heardAt, triedAt) > ANEW_MS) connectAnew();
}, 1000);

/** Opens the stream anew once the server answers. A try given up also takes one dead connection out of the browser's
 * store, which would hand it to the stream: with one try after the other, a page was blind for half a minute. */
async function connectAnew() {
  if (trying) return;
  trying = true;
  try {
    const ask = () => fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if ((await Promise.any(Array.from({ length: AT_ONCE }, ask))).ok) {
      if (++answered > 2) { comingBack = true; comeBack(); } else connect();
    }
  } catch { /* still away */ }
  trying = false;
}

/** Loads the page anew once the server answers, and not under the hands of who fills in a form. */
function comeBack(after = 5000) {
  setTimeout(async () => {
    try {
      const answer = await fetch("/healthz");
      if (answer.ok && !document.querySelector("dialog[open]") && !body.dataset.asking) { location.reload(); return; }
    } catch { /* still away */ }
    comeBack();
  }, after);
}
const outcome = document.getElementById("outcome");
if (outcome) {
  const words = outcome.querySelector(".words");
  const until = performance.now() + 60000;
  const ask = async () => {
    try {
      const answer = await fetch(`/operations/${outcome.dataset.operation}`);
      const found = answer.ok ? await answer.json() : { state: "waiting" };
      if (found.state !== "waiting") {
        outcome.classList.add(found.state);
        words.textContent = found.words;
        const here = new URL(location.href); // loaded anew in an hour, the page must not tell it as news
        for (const name of ["operation", "act", "of"]) here.searchParams.delete(name);
        history.replaceState(null, "", here);
        if (found.state === "done") setTimeout(() => { outcome.hidden = true; }, TOLD_MS); // the line tells it, too
        return;
      }
    } catch { /* the server is away; asked again */ }
    if (performance.now() > until - 55000) words.textContent = "no answer yet: is the alerting worker up? The request is kept, and will be carried out when it is back.";
    if (performance.now() < until) setTimeout(ask, 700);
  };
  ask();
}
