// The search over the settings and the line of differences (see setting_finder.py). What doesn't match is hidden by a style sheet:
// Gradio owns the fields' classes.
const search = Object.assign(document.createElement("input"), { type: "search", className: "find-setting" });
const line = Object.assign(document.createElement("p"), { className: "quiet" });
const sheet = document.head.appendChild(document.createElement("style")); // outside of what is watched below
element.replaceChildren(search, line);

const heads = () => [...document.querySelectorAll("#config .group .label-wrap")];
const fields = () => [...document.querySelectorAll("#config .field")];
let unfolded = []; // by a search, to be folded after it
let watcher = null; // waits for the field that a link leads to

// Gradio draws what is folded when it is opened first.
function unfold() {
  const folded = heads().filter((head) => !head.classList.contains("open"));
  folded.forEach((head) => head.click());
  unfolded.push(...folded);
}
function foldAgain(field) {
  const others = unfolded.filter((head) => head.classList.contains("open") && !head.closest(".group")?.contains(field));
  unfolded = [];
  others.forEach((head) => head.click());
}
// A field elsewhere on the page may be linked to as well: <a href="#field-seed">.
function goTo(place) {
  const visible = () => [...document.querySelectorAll(place)].find((field) => field.checkVisibility());
  if (!visible()) unfold();
  untilDrawn(visible, (field) => {
    foldAgain(field);
    field.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    field.querySelector("input, textarea")?.focus({ preventScroll: true });
  });
}
function untilDrawn(find, then) {
  watcher?.disconnect();
  const node = find();
  if (node) return then(node);
  watcher = new MutationObserver(() => {
    const drawn = find();
    if (drawn) { watcher.disconnect(); then(drawn); }
  });
  watcher.observe(document.querySelector("#config"), { attributes: true, childList: true, subtree: true });
}
document.querySelector("#config").addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#field-"]');
  if (!link) return;
  event.preventDefault();
  search.value = "";
  hide();
  goTo(link.getAttribute("href"));
});

function hide() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (field) => words.every((word) => field.textContent.toLowerCase().includes(word));
  const others = fields().filter((field) => !matches(field));
  const cards = words.length ? [...document.querySelectorAll("#config .group")].filter((card) => !fields().some((field) => card.contains(field) && matches(field))) : [];
  const hidden = [...others, ...cards].filter((node) => node.id).map((node) => `#${node.id}`);
  sheet.textContent = hidden.length ? `${hidden.join()}{display:none!important}` : "";
}
new MutationObserver(() => { if (search.value) hide(); }).observe(document.querySelector("#config"), { childList: true, subtree: true });
search.addEventListener("input", () => {
  hide();
  if (search.value) unfold();
  else foldAgain(null);
});

function draw() {
  const { before, links, after, find } = props.value;
  search.placeholder = find;
  search.setAttribute("aria-label", find);
  const anchors = links.flatMap(([name, label], k) => [k ? ", " : "", Object.assign(document.createElement("a"), { href: `#field-${name}`, textContent: label })]);
  line.replaceChildren(before, ...anchors, after);
}
watch("value", draw);
draw();
