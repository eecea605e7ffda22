// The list renews itself, and is worked with the keyboard alone.
import { PART_MS } from "./live.js";
import { renewed } from "./morph.js";

const rows = document.getElementById("rows");
let wanted = rows.dataset.changes;

document.addEventListener("andon:alarms", ({ detail }) => { wanted = String(detail.changes); renew(wanted); });

async function renew(changes) {
  if (rows.dataset.changes === changes || wanted !== changes) return; // as it was drawn, or no longer the newest
  const address = new URL(location.href);
  address.pathname = "/alarms";
  address.searchParams.set("rows", "true");
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(PART_MS) });
    if (answer.redirected) return; // logged out: the page is loaded anew
    const html = answer.ok ? await answer.text() : null;
    if (html !== null && wanted === changes) {
      const fresh = rows.cloneNode(false);
      fresh.innerHTML = html;
      rows.dataset.changes = fresh.dataset.changes = changes;
      renewed(rows, fresh);
      return;
    }
  } catch { /* the bar at the top says that the server is away */ }
  setTimeout(() => renew(changes), 2000);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("dialog[open], input, select, textarea")) return;
  const links = [...rows.querySelectorAll("a.row")];
  const row = document.activeElement.closest?.("tr[data-alarm]");
  const at = links.findIndex((link) => link.closest("tr") === row);
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (step && links.length) {
    event.preventDefault();
    links[Math.min(links.length - 1, Math.max(0, at < 0 ? 0 : at + step))].focus();
    return;
  }
  const act = { a: "acknowledge", s: "shelve" }[event.key];
  const button = act && row?.querySelector(`[data-act="${act}"]`);
  if (button) { event.preventDefault(); button.click(); }
});

for (const choice of document.querySelectorAll("#filters select")) choice.addEventListener("change", () => choice.form.requestSubmit());
