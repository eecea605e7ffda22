// Keeps the lines, the counts and the clock of every page true, and says loud when it can't.
const WAIT_MS = 6000;
const ANEW_MS = 12000; // silent for so long, and the connection may have died without a word, as where the radio changes
const ANSWER_MS = 3000;
export const PART_MS = 30000; // a part of a page may come over a slow link
const AT_ONCE = 5; // so many connections a browser keeps beside the stream's
const BACK_MS = 1500; // so long a tab that is looked at again may wait for news before it calls itself old
const TOLD_MS = 60000; // what was done is no news by then
const SAID_EACH = 4, SAID_MS = 20000; // so many lines at once are read aloud, and so long the words stand there
const PRESS_MS = 2000; // no press holds news up for longer: something may lie on a tablet
const body = document.body;
const wall = body.classList.contains("wall");
const connection = document.getElementById("connection");
const holder = document.getElementById("lines"), above = document.getElementById("lines-head");
const lines = new Map([...holder.querySelectorAll(".line")].map((line) => [line.dataset.line, line]));
let drawn = holder.dataset.drawn; // what the lines show, in the server's words
const said = document.getElementById("said");
const badge = document.getElementById("unacknowledged");
const held = new Map(); // box → what is to be changed in it once the press is over, in this order
const told = new Map(); // line → what was said of it last
let pressed = null, pressedAt = 0;
addEventListener("pointerdown", (event) => { pressed = event.target; pressedAt = performance.now(); }, true);
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => { pressed = null; setTimeout(showHeld); }, true);
let heardAt = performance.now(), triedAt = heardAt, source = null, comingBack = false, trying = false;
let answered = 0; // so often did the server answer while its stream said nothing
let fault = connection.textContent, loggedOut = false, refused = ""; // what the server says of itself, where it lets nobody in
export const clock = { offset: Number(body.dataset.now) - Date.now() };

/** Changes what a box holds, once no finger is on it. */
export function change(box, act) {
  held.set(box, [act]); // what was held is older than this
  show(box);
}

function show(box) {
  // Not between the press and the release of a button: the click would fall into the void.
  if (pressed && box.contains(pressed) && performance.now() - pressedAt < PRESS_MS) return;
  const focused = document.activeElement, key = box.contains(focused) ? focused.dataset.key : null;
  const changes = held.get(box);
  held.delete(box);
  for (const change of changes) change();
  if (key && !focused.isConnected && document.activeElement === body) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function showHeld() {
  for (const box of [...held.keys()]) show(box);
}

/** Of the lines only what has changed comes: no other is touched, and neither is who stands in it. */
function renew({ whole, head, lines: changed, gone }) {
  const fresh = changed.map(({ line, after, html }) => {
    const box = document.createElement("template");
    box.innerHTML = html;
    return { line, after, article: box.content.firstElementChild };
  });
  const names = new Set(fresh.map(({ line }) => line));
  for (const line of whole ? [...told.keys()] : gone) if (!names.has(line)) told.delete(line);
  announce(fresh.map(({ article }) => article));
  held.set(holder, [...(held.get(holder) ?? []), () => {
    if (head !== null) above.innerHTML = head;
    for (const line of whole ? [...lines.keys()] : [...gone, ...names]) { lines.get(line)?.remove(); lines.delete(line); }
    for (const { line, after, article } of fresh) {
      (lines.get(after) ?? above).after(article);
      lines.set(line, article);
    }
  }]);
  show(holder);
}

/** Reads aloud what is new of lines, each once, and not a wall of them. */
function announce(articles) {
  const news = articles.map(({ dataset }) => dataset).filter(({ line, said: words }) => words && words !== told.get(line));
  for (const { dataset } of articles) told.set(dataset.line, dataset.said);
  if (!news.length) return;
  const words = document.createElement("p");
  const more = news.length > SAID_EACH ? ` And ${news.length - SAID_EACH} more line${news.length === SAID_EACH + 1 ? "" : "s"}.` : "";
  words.textContent = news.slice(0, SAID_EACH).map(({ said: of }) => of).join(" ") + more;
  said.append(words);
  setTimeout(() => words.remove(), SAID_MS);
}

function showConnection() {
  const lost = performance.now() - heardAt > WAIT_MS;
  body.classList.toggle("lost", lost || Boolean(fault));
  const why = loggedOut ? "NOBODY IS LOGGED IN here any more. This page leads to the login once you have sent or cancelled what you write" : refused ? `NOTHING COMES FROM this page's server: ${refused}` : answered < 2 ? "NO CONNECTION to this page's server" : "NOTHING NEW COMES THROUGH, although this page's server answers. Perhaps a proxy or a virus scanner holds its stream back";
  const words = lost ? `${why}: what you see is old.` : fault ? `WHAT YOU SEE MAY BE OLD: ${fault}` : "";
  if (connection.textContent !== words) connection.textContent = words;
  connection.hidden = !words;
}

function connect() {
  if (document.hidden) return;
  source?.close();
  triedAt = performance.now();
  source = new EventSource(`/events?${new URLSearchParams({ tiles: wall, drawn })}`);
  const heard = (name, act) => source.addEventListener(name, (event) => { heardAt = performance.now(); answered = 0; loggedOut = false; refused = ""; act(JSON.parse(event.data), event.lastEventId); showConnection(); });
  heard("beat", ({ now_ms, fault: why }) => { clock.offset = now_ms - Date.now(); fault = why; });
  heard("lines", (news, id) => { drawn = id; renew(news); });
  heard("alarms", ({ unacknowledged }) => {
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
document.addEventListener("DOMContentLoaded", () => { document.getElementById("still").remove(); announce([...lines.values()]); connect(); });
// A browser keeps six connections to one host for all its tabs: six that listen, and no page loads and no act opens.
// So one that nobody looks at gives its own back, and hears what it has missed once somebody does.
document.addEventListener("visibilitychange", () => {
  if (comingBack) return;
  if (document.hidden) { source?.close(); source = null; return; }
  heardAt = Math.max(heardAt, performance.now() - WAIT_MS + BACK_MS);
  connect();
});
let lookedAt = performance.now(), dateThen = Date.now();
setInterval(() => {
  // While a machine sleeps only its date goes on: what was heard before is older by that.
  const slept = Date.now() - dateThen - (performance.now() - lookedAt);
  [lookedAt, dateThen] = [performance.now(), Date.now()];
  if (slept > WAIT_MS) { heardAt -= slept; triedAt -= slept; }
  if (document.hidden) return;
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
    const ask = () => heard("/here", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    const answer = await Promise.any(Array.from({ length: AT_ONCE }, ask));
    if (loginWanted(answer)) { comingBack = true; comeBack(0); }
    else if (answer.ok) {
      if (++answered > 2) { comingBack = true; comeBack(); } else connect();
    }
  } catch { /* still away */ }
  trying = false;
}

/** What is answered, by our server or by who stands before it, as a proxy that wants a login. Throws where nobody
 * answers, or only one who could not reach our server; with our server's own words where it can tell of nobody who they
 * are. */
export async function heard(address, options) {
  // A redirect is an answer: followed, it may lead to another origin, where a page may not look.
  const answer = await fetch(address, { ...options, redirect: "manual" });
  if ([502, 503, 504].includes(answer.status)) throw new Error(answer.status, { cause: whose(answer) && await answer.text() });
  return answer;
}

/** Whether nobody is logged in any more, at our server or at a proxy before it. */
export function loginWanted(answer) {
  return whose(answer) ? whose(answer) === "nobody" : answer.type === "opaqueredirect" || [401, 403].includes(answer.status);
}

/** Null of an answer that is not our server's. */
export function whose(answer) { return answer.headers.get("andon-answer"); }

export function loadAnew() {
  // An answer to a form would be asked for by sending that form again.
  if (body.dataset.answers) location.replace("/"); else location.reload();
}

/** Loads the page anew once the server answers, and not under the hands of who fills in a form: there only the stream
 * is opened again, which tells all that has changed. */
function comeBack(after = 5000) {
  setTimeout(async () => {
    try {
      const answer = await heard("/here", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      loggedOut = loginWanted(answer);
      refused = "";
      if (answer.ok || loggedOut) {
        if (!document.querySelector("dialog[open]") && !body.dataset.asking && !isWrittenIn()) loadAnew();
        else { comingBack = false; connect(); }
        return;
      }
    } catch ({ cause }) { refused = cause ?? ""; } // still away
    comeBack();
  }, after);
}

function isWrittenIn() {
  const fields = [...document.querySelectorAll("main form[method=post]")].flatMap((form) => [...form.elements]);
  return fields.some((field) => field.value !== (field.defaultValue ?? field.value) || field.checked !== field.defaultChecked);
}

const outcome = document.getElementById("outcome");
if (outcome) {
  const words = outcome.querySelector(".words");
  const asked = performance.now();
  const ask = async () => {
    try {
      const answer = await fetch(`/operations/${outcome.dataset.operation}`, { signal: AbortSignal.timeout(ANSWER_MS) });
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
    const waited = performance.now() - asked;
    if (waited > 5000) words.textContent = "no answer yet: is the alerting worker up? The request is kept. When it is back it carries it out, a reset only within 5 minutes of its form.";
    setTimeout(ask, waited < 60000 ? 700 : 5000);
  };
  ask();
}
