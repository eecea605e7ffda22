// An act opens in a dialog where one stands. Without this file the same links lead to the same form on its own page.
import { heard, loadAnew, loginWanted, whose } from "./live.js";

const dialog = document.getElementById("act");
const AWAY_MS = 5000;
const KEPT = "andon.words";
let opener = "";
let asked = 0, answered = 0, wanted = ""; // forms that were asked for, how many of them are dealt with, and the newest

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-act]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  open(link);
});

async function open(link) {
  const here = new URL(location.href);
  for (const name of ["operation", "act", "of"]) here.searchParams.delete(name);
  const target = new URL(link.href);
  target.searchParams.set("next", here.pathname + here.search);
  target.searchParams.set("fragment", "true");
  if (wanted !== link.href) answered = asked; // of another link none is wanted any more
  wanted = link.href;
  const mine = ++asked;
  link.setAttribute("aria-busy", "true");
  document.body.dataset.asking = "yes"; // nobody may load the page anew now: the click would be lost
  try {
    const answer = await heard(target, { headers: { accept: "text/html" } });
    const form = await answer.text();
    if (mine <= answered) return; // pressed again, as over a slow link: by now something may be typed
    answered = asked;
    if (!answer.ok) { location.href = link.href; return; }
    dialog.innerHTML = form;
    dialog.showModal();
    opener = link.dataset.key;
    dialog.querySelector("[autofocus]")?.select();
  } catch ({ cause }) {
    tellAway(document.getElementById("lines"), "beforebegin", cause);
  } finally {
    link.removeAttribute("aria-busy");
    delete document.body.dataset.asking;
  }
}
document.addEventListener("keydown", (event) => {
  // These links are buttons to a screen reader, so the space bar must press them.
  if (event.key === " " && event.target.matches?.("a[role=button]")) { event.preventDefault(); event.target.click(); }
});
dialog?.addEventListener("close", () => {
  // Where its line changed meanwhile, the button that the browser would go back to is gone; its like stands there.
  const focused = document.activeElement;
  if (focused === document.body || dialog.contains(focused)) document.querySelector(`[data-key="${CSS.escape(opener)}"]`)?.focus();
});
dialog?.addEventListener("click", (event) => {
  if (event.target.closest("[data-cancel]")) { event.preventDefault(); dialog.close(); }
});
// To send a form to a server that is away is to leave for the browser's own page of errors: the stops, and what was
// typed, are gone then, and no such page comes back from a form by itself.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  document.body.dataset.asking = "yes";
  try {
    const answer = await heard("/here", { cache: "no-store", signal: AbortSignal.timeout(AWAY_MS) });
    if (dialog.contains(form) && !dialog.open) return; // it was taken back meanwhile
    const wanted = loginWanted(answer);
    if (wanted) keepWords(form);
    // Our policy lets no form be led on to a login of another origin; a page that is asked for may be.
    if (wanted && !whose(answer)) loadAnew(); else form.submit();
  } catch ({ cause }) {
    button.disabled = false;
    tellAway(form, "afterbegin", cause);
  } finally {
    delete document.body.dataset.asking;
  }
});

/** For after the login that a form leads to: there it is shown again, to be sent or not. */
function keepWords(form) {
  const fields = [...form.elements].filter(({ name, type }) => name && !["hidden", "password"].includes(type));
  const words = fields.map(({ name, value, checked }) => ({ name, value, checked }));
  sessionStorage.setItem(KEPT, JSON.stringify({ who: document.body.dataset.who, action: form.action, opener: dialog.contains(form) ? opener : "", words }));
}

async function showKept() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  if (kept?.who !== document.body.dataset.who) return; // nobody says another's words by mistake
  const link = kept?.opener && document.querySelector(`[data-key="${CSS.escape(kept.opener)}"]`);
  if (link) await open(link);
  const form = kept && [...document.forms].find(({ action }) => action === kept.action);
  for (const field of form?.elements ?? []) {
    const isChoice = field.type === "radio";
    const had = kept.words.find(({ name, value }) => name === field.name && (!isChoice || value === field.value));
    if (had && isChoice) field.checked = had.checked; else if (had) field.value = had.value;
  }
}
showKept();

function tellAway(box, where, cause) {
  document.getElementById("away")?.remove();
  const words = document.createElement("p");
  Object.assign(words, { id: "away", className: "outcome refused", role: "alert" });
  words.textContent = `NOT asked for: ${cause ?? "this page's server does not answer"}. Try again once that is over.`;
  box.insertAdjacentElement(where, words);
}
addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button:disabled")) button.disabled = false; });
