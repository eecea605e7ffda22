// An act opens in a dialog where one stands. Without this file the same links lead to the same form on its own page.
const dialog = document.getElementById("act");
let opener = "";

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-act]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const here = new URL(location.href);
  for (const name of ["operation", "act", "of"]) here.searchParams.delete(name);
  const target = new URL(link.href);
  target.searchParams.set("next", here.pathname + here.search);
  target.searchParams.set("fragment", "true");
  document.body.dataset.asking = "yes"; // nobody may load the page anew now: the click would be lost
  try {
    const answer = await fetch(target, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    dialog.innerHTML = await answer.text();
    dialog.showModal();
    opener = link.dataset.key;
    dialog.querySelector("[autofocus]")?.select();
  } catch {
    location.href = link.href;
  } finally {
    delete document.body.dataset.asking;
  }
});
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
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button:not(.quiet)");
  if (button) setTimeout(() => { button.disabled = true; });
});
addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button:disabled")) button.disabled = false; });
