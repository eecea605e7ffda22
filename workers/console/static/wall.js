// The tiles. Facts of all cameras come in; only tiles that are in sight are painted and load pictures.
import { clock, PART_MS } from "./live.js";
import "./opacity.js";

const root = document.getElementById("tiles");
const tiles = new Map();
const elements = new Map();
const seen = new Set();
const LATE = "late", UNREAD = "unread";
const PICTURE_MS = 10000, PATIENCE_MS = 40000; // at first, and at most
const LET_GO_MS = 1000;
const SAME_MS = 5000; // so long the other tiles take it for unread, too

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const camera = entry.target.dataset.camera;
    if (entry.isIntersecting) { seen.add(camera); paint(camera); } else seen.delete(camera);
  }
}, { rootMargin: "120px" });

for (const element of root.querySelectorAll(".tile")) adopt(element);

function adopt(element) {
  elements.set(element.dataset.camera, element);
  watcher.observe(element);
}

document.addEventListener("andon:tiles", ({ detail }) => {
  const told = new Set(detail.tiles.map((tile) => tile.camera_id));
  const gone = detail.whole ? [...elements.keys()].filter((camera) => !told.has(camera)) : detail.gone;
  for (const tile of detail.tiles) {
    tiles.set(tile.camera_id, tile);
    // A camera that was given to another line must not look as if it still watched this one.
    if (elements.has(tile.camera_id) && groupOf(tile.camera_id).dataset.line !== tile.line_id) remove(tile.camera_id);
    if (!elements.has(tile.camera_id)) { grow(); continue; }
    if (seen.has(tile.camera_id)) paint(tile.camera_id);
    // Its state shows even out of sight, so that hiding what is normal stays right.
    else elements.get(tile.camera_id).className = `tile ${tile.state}`;
  }
  for (const camera of gone) { remove(camera); tiles.delete(camera); }
});

function groupOf(camera) { return elements.get(camera).closest(".group"); }

function remove(camera) {
  if (!elements.has(camera)) return;
  const group = groupOf(camera);
  elements.get(camera).remove();
  elements.delete(camera);
  if (!group.querySelector(".tile")) group.remove();
}

let growing = false;
function grow() { // a new camera: drawn by the server, with all others that came with it
  if (growing) return;
  growing = true;
  setTimeout(async () => {
    growing = false;
    try {
      const answer = await fetch("/", { headers: { accept: "text/html", "andon-part": "main" }, signal: AbortSignal.timeout(PART_MS) });
      if (!answer.ok || answer.redirected) return; // the stream of events ends, too, and comes back
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("tiles");
      root.querySelector(".empty")?.remove();
      merge(root, fresh.querySelectorAll(".group"), (group) => root.querySelector(`.group[data-line="${CSS.escape(group.dataset.line)}"]`));
    } catch { /* the bar at the top says that the server is away; the next news of a new camera tries again */ }
  }, 1000);
}

/** Puts in what is missing, in the server's order, and leaves what is there alone: no page is loaded anew under a hand. */
function merge(box, fresh, ours) {
  let at = box.firstElementChild;
  for (const one of fresh) {
    const known = ours(one);
    if (!known) {
      box.insertBefore(one, at);
      for (const tile of one.matches(".tile") ? [one] : one.querySelectorAll(".tile")) adopt(tile);
      continue;
    }
    if (one.matches(".group")) merge(known.querySelector(".grid"), one.querySelectorAll(".tile"), (tile) => elements.get(tile.dataset.camera));
    at = known.nextElementSibling;
  }
}

function paint(camera) {
  const tile = tiles.get(camera), element = elements.get(camera);
  if (!tile || !element) return;
  element.className = `tile ${tile.state} ${element.dataset.without ?? ""}`;
  const link = element.querySelector(".picture");
  if (tile.frame_id) link.href = `/parts/${tile.frame_id}`;
  text(link.querySelector(".visually-hidden"), `Last part of camera ${camera}`);
  text(element.querySelector(".shape"), tile.shape);
  text(element.querySelector(".words"), tile.words);
  text(element.querySelector(".value"), tile.score);
  text(element.querySelector(".limit-value"), tile.threshold);
  element.querySelector(".score").setAttribute("width", tile.share * 100);
  age(camera);
  if (tile.frame_id && element.dataset.shown !== tile.frame_id && !element.dataset.loading) load(camera);
}

async function load(camera) {
  const tile = tiles.get(camera), element = elements.get(camera), link = element.querySelector(".picture");
  element.dataset.loading = "yes";
  const folder = `/pictures/${tile.frame_id}/${tile.model}`;
  const patience = Number(element.dataset.patience ?? PICTURE_MS);
  const found = tile.model ? await Promise.all([fetched(`${folder}/thumbnail`, "", patience), fetched(`${folder}/heat`, "heat", patience)]) : [];
  const [thumbnail, heat] = found;
  const late = found.includes(LATE), unread = thumbnail === UNREAD;
  delete element.dataset.loading;
  if (late || unread) element.dataset.patience = Math.min(2 * patience, PATIENCE_MS); else delete element.dataset.patience;
  element.dataset.shown = late ? "" : tile.frame_id; // what is late is asked for again
  if (unread) setTimeout(() => { // and so is this, less often the longer it lasts
    if (element.dataset.shown === tile.frame_id) element.dataset.shown = "";
    if (seen.has(camera)) paint(camera);
  }, patience);
  element.dataset.without = thumbnail instanceof Image ? "" : thumbnail ?? "nothing";
  link.querySelectorAll("img").forEach((old) => old.remove()); // beside the facts of this frame no other may stand
  if (thumbnail instanceof Image) link.append(thumbnail, ...(heat instanceof Image ? [heat] : []));
  if (seen.has(camera)) paint(camera); // what came meanwhile
}

/** The image, null where none is kept, LATE, or UNREAD where nobody could say. */
async function fetched(address, kind, patience) {
  const image = new Image();
  image.alt = "";
  image.className = kind;
  image.src = address;
  const late = new Promise((tell) => setTimeout(tell, patience, LATE)); // a connection may die without a word
  const found = await Promise.race([image.decode().then(() => image, () => kind ? null : why(address, patience)), late]);
  if (found === LATE) {
    // Else the browser would wait on for the same answer. It lets go only of what nobody asks for at once again.
    image.removeAttribute("src");
    await new Promise((go) => setTimeout(go, LET_GO_MS));
  }
  return found;
}

let asked = null;
/** An image that did not come keeps to itself what the server said. While Redis is away that is the same of all, and to
 * ask for each a second time would double what waits there. */
async function why(address, patience) {
  if (await asked === UNREAD) return UNREAD;
  const mine = asked = status(address, patience);
  setTimeout(() => { if (asked === mine) asked = null; }, SAME_MS);
  return mine;
}

async function status(address, patience) {
  try { return (await fetch(address, { signal: AbortSignal.timeout(patience) })).status === 404 ? null : UNREAD; } catch { return UNREAD; }
}

function age(camera) {
  const tile = tiles.get(camera);
  if (!tile?.captured_ms) return;
  const seconds = Math.max(0, Math.round((Date.now() + clock.offset - tile.captured_ms) / 1000));
  text(elements.get(camera).querySelector(".age"), seconds < 100 ? `${seconds} s ago` : seconds < 6000 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`);
}

function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

setInterval(() => { for (const camera of seen) age(camera); }, 1000);

const abnormal = document.getElementById("abnormal");
const filter = () => document.body.classList.toggle("only-abnormal", abnormal.checked);
abnormal.checked = localStorage.getItem("andon.abnormal") === "yes";
abnormal.addEventListener("change", () => { filter(); localStorage.setItem("andon.abnormal", abnormal.checked ? "yes" : "no"); });
filter();
