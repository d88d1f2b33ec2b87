// A click on a picture in one of these places opens it over the page, with its neighbours at the arrows. A picture's seed is the last number
// of its caption; the place says with which model it was drawn (data-model), where that is known.
const PLACES = "#sample-pictures, #sample-sheet, #train-previews .image, #train-compare, #run-end .end-pictures";
const box = Object.assign(document.createElement("dialog"), { className: "lightbox" });
box.innerHTML = `<figure><img alt=""><figcaption></figcaption></figure><div class="lightbox-actions"></div>
  <button type="button" class="before">‹</button><button type="button" class="after">›</button><button type="button" class="close">×</button>`;
element.replaceChildren(box);
const find = (selector) => box.querySelector(selector);
let images = [], at = 0, place = null;

const captionOf = (image) => image.closest("button, figure")?.querySelector(".caption-label, figcaption")?.textContent.trim() || image.alt || "";
const seedOf = (text) => text.match(/(\d+)\s*$/)?.[1];
function action(text, act) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  button.addEventListener("click", act);
  return button;
}
function show(k) {
  const words = props.value?.words || {};
  at = (k + images.length) % images.length;
  const source = images[at], image = find("img"), text = captionOf(source);
  image.src = source.currentSrc || source.src;
  image.alt = text || source.alt;
  image.classList.toggle("pixelated", source.naturalWidth <= 96);
  find("figcaption").textContent = text;
  for (const [name, label] of [["before", words.before], ["after", words.after]]) {
    find("." + name).hidden = images.length < 2;
    find("." + name).setAttribute("aria-label", label);
  }
  find(".close").setAttribute("aria-label", words.close);
  const save = Object.assign(document.createElement("a"), { textContent: words.download, href: image.src, download: `${(text || "picture").replace(/[^\w-]+/g, "-").slice(0, 60)}.png` });
  const actions = [save], seed = place.id === "sample-pictures" ? seedOf(text) : undefined;
  if (seed !== undefined) {
    const { source } = document.querySelector("#sample-status [data-source]").dataset;
    actions.push(action(words.again, () => { box.close(); trigger("click", { seed: Number(seed), caption: text, source }); }));
    actions.push(action(words.learn, () => { box.close(); openLearn({ station: "walk", model: source, seed }); trigger("select"); }));
  }
  find(".lightbox-actions").replaceChildren(...actions);
}
document.addEventListener("click", (event) => {
  const image = event.target.closest("img, button")?.closest(PLACES) && (event.target.closest("img") || event.target.closest("button")?.querySelector("img"));
  if (!image || box.contains(image)) return;
  place = image.closest(PLACES);
  images = [...place.querySelectorAll("img")];
  show(images.indexOf(image));
  box.showModal();
});
box.addEventListener("click", (event) => { if (event.target === box || event.target.classList.contains("close")) box.close(); });
find(".before").addEventListener("click", () => show(at - 1));
find(".after").addEventListener("click", () => show(at + 1));
box.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") show(at - 1);
  else if (event.key === "ArrowRight") show(at + 1);
  else return;
  event.preventDefault();
});
// Where the Learn tab is to open: in its link for a stage that isn't there yet, and as an event for one that is.
window.openLearn = (values) => {
  const address = new URL(location);
  address.searchParams.delete("lesson");
  for (const [name, value] of Object.entries(values)) address.searchParams.set(name, value);
  history.replaceState(history.state, "", address);
  dispatchEvent(new CustomEvent("learn", { detail: values }));
};
