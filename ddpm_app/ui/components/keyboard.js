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

// One stop of the tab key for each group, and the names: whenever the page has changed, before it is painted.
let planned = 0, tab = null;
function tidy() {
  planned = 0;
  const open = document.querySelector("#tabs [role=tab][aria-selected=true]");
  if (open && tab && open !== tab) scrollTo(0, 0); // a tab begins at its top, wherever the one before was left
  tab = open || tab;
  for (const list of document.querySelectorAll(Object.values(GROUPS).join())) {
    const group = groupOf(list.querySelector(Object.keys(GROUPS).join()) || list), stop = group.find(isChosen) || group[0];
    for (const member of group) if (member.tabIndex !== (member === stop ? 0 : -1)) member.tabIndex = member === stop ? 0 : -1;
  }
  for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) empty.setAttribute("role", "img"); // a name without a role is none
  for (const thumbnail of document.querySelectorAll("button.thumbnail-lg")) {
    const caption = thumbnail.querySelector(".caption-label")?.textContent.trim();
    if (caption && thumbnail.getAttribute("aria-label") !== caption) thumbnail.setAttribute("aria-label", caption);
  }
}
new MutationObserver(() => { planned ||= requestAnimationFrame(tidy); }).observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-selected"] });
document.addEventListener("change", () => { planned ||= requestAnimationFrame(tidy); });
tidy();
