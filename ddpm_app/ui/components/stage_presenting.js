// Presenting: larger type, no header, arrows turn the pages, and a QR code of this very moment. Shares the scope of stage.js.
let codeOf = "";

function present(on) {
  document.body.classList.toggle("presenting", on);
  find(".present").textContent = word(on ? "present_end" : "present");
  codeOf = "";
  link();
}
async function drawMomentCode(url) {
  const box = element.querySelector(".moment");
  if (!box || !document.body.classList.contains("presenting") || codeOf === url) return;
  codeOf = url;
  const answer = await server.moment_code({ url });
  if (codeOf !== url) return;
  box.innerHTML = answer.svg;
  box.append(create("figcaption", "", word("scan")));
}
function turnPage(by) {
  const lesson = lessonOf(state.lesson);
  if (lesson) return turnTo(lesson, state.step + by);
  const next = catalog.stations[catalog.stations.findIndex((each) => each.id === state.station) + by];
  if (next) go(next.id);
}
const PAGE_KEYS = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 };
function onKey(event) {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable=true]"), presenting = document.body.classList.contains("presenting");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.toLowerCase() === "f" && (presenting || state.lesson || find(".learn-main").offsetParent)) present(!presenting);
  else if (presenting && event.key === "Escape") present(false);
  else if (presenting && PAGE_KEYS[event.key]) turnPage(PAGE_KEYS[event.key]);
  else return;
  event.preventDefault();
}
