// Left and right lead to the part before and after.
import "./opacity.js";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("dialog[open], input, select, textarea")) return;
  const link = document.getElementById({ ArrowLeft: "previous", ArrowRight: "following" }[event.key] ?? "none");
  if (link) { event.preventDefault(); link.click(); }
});
