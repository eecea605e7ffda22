// Dragging the threshold asks the server what it would have stopped. The server counts as alerting does.
const TRIAL_MS = 120000; // a long history is read from Kafka first

const box = document.getElementById("trial");
if (box) {
  const slider = document.getElementById("threshold"), marker = document.getElementById("marker"), chosen = document.getElementById("chosen");
  const low = Number(box.dataset.low), high = Number(box.dataset.high);
  let asked = 0, timer = 0, asking = new AbortController();

  const show = (value) => {
    document.getElementById("tried").textContent = Number(value).toPrecision(4);
    marker.setAttribute("x", Math.min(1, Math.max(0, (value - low) / (high - low || 1))) * 600 - 1);
  };
  const tell = (stops, notOk, shown = []) => {
    document.getElementById("stops").textContent = stops;
    document.getElementById("not-ok").textContent = notOk;
    document.getElementById("shown").replaceChildren(...shown);
  };
  const ask = async (value) => {
    const turn = ++asked;
    const { line, hours, model, k, n } = box.dataset;
    const query = new URLSearchParams({ line, hours, model, k, n, threshold: value });
    const question = asking = new AbortController(), patience = setTimeout(() => question.abort(), TRIAL_MS);
    let found = null;
    try {
      const answer = await fetch(`/model/trial?${query}`, { headers: { accept: "application/json" }, signal: question.signal });
      if (answer.ok) found = await answer.json();
    } catch { /* the server is away, or another threshold was asked of */ }
    clearTimeout(patience);
    if (turn !== asked) return;
    if (!found) { tell("not known", "not known"); return; }
    tell(found.stops, found.not_ok, found.shown.map((stop) => {
      const item = document.createElement("li"), link = document.createElement("a");
      link.href = `/parts/${stop.frame_id}`;
      link.textContent = `${stop.at} ${stop.camera}`;
      item.append(link);
      return item;
    }));
  };
  const moved = (value) => { asked++; show(value); tell("…", "…"); asking.abort(); clearTimeout(timer); timer = setTimeout(() => ask(value), 150); };

  slider.addEventListener("input", () => { if (chosen) chosen.value = slider.value; moved(slider.value); });
  chosen?.addEventListener("input", () => { slider.value = chosen.value; if (chosen.value) moved(chosen.value); });
}
