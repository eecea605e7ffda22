// One slider for all heat maps, remembered by this browser.
const slider = document.getElementById("opacity");
if (slider) {
  const show = () => document.documentElement.style.setProperty("--heat", slider.value / 100);
  slider.value = localStorage.getItem("andon.heat") ?? slider.value;
  slider.addEventListener("input", () => { show(); localStorage.setItem("andon.heat", slider.value); });
  show();
}
