// Makes what a page shows the same as what was drawn anew, and touches no more of it than has changed: the focus, marked
// words, and how far a table was scrolled stay.
import { change } from "./live.js";

export function renewed(box, fresh) {
  change(box, () => {
    const focused = document.activeElement, within = box.contains(focused);
    morph(box, fresh);
    if (!within || focused.isConnected) return;
    // Of the same row, else beside where it was: with the focus gone, a keyboard begins at the top of the page.
    const like = focused.dataset.key && box.querySelector(`[data-key="${CSS.escape(focused.dataset.key)}"]`);
    (like || box.querySelector("[tabindex]") || box.closest("[tabindex]"))?.focus({ preventScroll: true });
  });
}

function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== fresh.nodeName || nameOf(old) !== nameOf(fresh)) {
    old.replaceWith(fresh);
    return;
  }
  const children = [...fresh.childNodes];
  if (old.childNodes.length === children.length) [...old.childNodes].forEach((child, at) => morph(child, children[at]));
  else old.replaceChildren(...children);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

/** No press may end on another thing than it began on. */
function nameOf({ dataset, href }) {
  return dataset.key ?? dataset.alarm ?? href;
}
