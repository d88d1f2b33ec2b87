// A message over the page (see message.py). It goes when it is clicked away or another comes, when the run in the header has become
// something else, when the tab is changed, when a setting is changed (a problem may be mended by it), and an outcome that is no problem after a while.
const GOOD_MS = 9000, TOGETHER_MS = 1500; // a message and the change that it tells of come together: that change doesn't end it
let since = 0, timer = null;

function clear() {
  clearTimeout(timer);
  if (props.value) props.value = ""; // the same message can come again
  element.replaceChildren();
}
function expire() { if (performance.now() - since > TOGETHER_MS) clear(); }
function draw() {
  clearTimeout(timer);
  element.innerHTML = props.value || "";
  const note = element.querySelector(".note");
  if (!note) return;
  since = performance.now();
  const close = Object.assign(document.createElement("button"), { type: "button", className: "close", textContent: "×" });
  close.setAttribute("aria-label", props.label);
  close.addEventListener("click", clear);
  note.append(close);
  if (!note.classList.contains("bad")) timer = setTimeout(clear, GOOD_MS);
}
const stateOfRun = () => `${document.querySelector("#status [data-run]")?.dataset.run} ${document.querySelector("#status .state")?.className}`;
let run = stateOfRun();
addEventListener("live", () => setTimeout(() => {
  const now = stateOfRun();
  if (now !== run) expire();
  run = now;
}, 100));
document.addEventListener("click", (event) => { if (event.target.closest("[role=tab]")) expire(); });
document.addEventListener("input", expire);
watch("value", draw);
draw();
