// See keyboard.py.
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
const GROUPS = { "[role=tab]": "[role=tablist]", "input[type=radio]": "fieldset, [role=radiogroup]" };
const isChosen = (member) => member.checked || member.getAttribute("aria-selected") === "true";

function groupOf(member) {
  for (const [kind, place] of Object.entries(GROUPS))
    if (member.matches?.(kind)) return [...(member.closest(place)?.querySelectorAll(kind) || [])].filter((each) => each.checkVisibility() && !each.disabled);
  return [];
}
document.addEventListener("keydown", (event) => {
  const step = STEPS[event.key], group = step && !event.altKey && !event.ctrlKey && !event.metaKey ? groupOf(event.target) : [];
  if (group.length < 2) return;
  event.preventDefault();
  const next = group[(group.indexOf(event.target) + step + group.length) % group.length];
  next.focus();
  next.click();
});

// One stop of the tab key for each group, and the names, soon after the page has changed. First all is read, then written: each reading
// after a writing makes the browser lay the page out anew.
const REST_MS = 150;
let planned = false, tab = null;
function tidy() {
  planned = false;
  const open = document.querySelector("#tabs [role=tab][aria-selected=true]");
  if (open && tab && open !== tab) scrollTo(0, 0); // a tab begins at its top, wherever the one before was left
  tab = open || tab;
  const writes = [];
  for (const list of document.querySelectorAll(Object.values(GROUPS).join())) {
    const first = list.checkVisibility() && list.querySelector(Object.keys(GROUPS).join());
    if (!first) continue;
    const group = groupOf(first), stop = group.find(isChosen) || group[0];
    for (const member of group) {
      const index = member === stop ? 0 : -1;
      if (member.tabIndex !== index) writes.push(() => { member.tabIndex = index; });
    }
  }
  for (const thumbnail of document.querySelectorAll("button.thumbnail-lg")) {
    const caption = thumbnail.querySelector(".caption-label")?.textContent.trim(), image = thumbnail.querySelector("img");
    if (caption && thumbnail.getAttribute("aria-label") !== caption) writes.push(() => { thumbnail.setAttribute("aria-label", caption); image.alt = ""; });
  }
  for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) writes.push(() => empty.setAttribute("role", "img")); // a name without a role is none
  for (const write of writes) write();
}
function plan() {
  if (planned) return;
  planned = true;
  setTimeout(tidy, REST_MS);
}
new MutationObserver(plan).observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-selected"] });
document.addEventListener("change", plan);
plan();
