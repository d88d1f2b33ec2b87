// Stands in the page's HTML (see first_paint.py): fills in the words of the first view, and takes it away when the page below it is ready:
// when it has all it opens with. Until then the page is laid out unseen, so that nothing jumps.
(() => {
  const words = WORDS;
  const opening = document.getElementById("first-paint"), root = document.documentElement;
  const query = new URLSearchParams(location.search);
  const elsewhere = window.opensOnTrain || ["tab", "station", "lesson", "preset"].some((name) => query.has(name));
  const LONGEST_MS = 7000, SETTLING_MS = 250;
  let ended = false;
  root.classList.add("opening");
  opening.classList.toggle("elsewhere", Boolean(elsewhere));
  for (const [name, text] of Object.entries(words[window.studioLanguage] || words.en)) {
    const place = opening.querySelector(name === "title" ? "h2" : `.home-${name}`);
    if (place) place.textContent = text;
  }
  if (matchMedia("(prefers-color-scheme: dark)").matches || query.get("__theme") === "dark") document.body.classList.add("dark");
  if (query.get("__theme") === "light") document.body.classList.remove("dark");
  const end = () => {
    if (ended) return;
    ended = true;
    root.classList.remove("opening");
    opening.classList.add("leaving");
    setTimeout(() => opening.remove(), 300);
    dispatchEvent(new Event("opened"));
  };
  addEventListener("loaded", () => setTimeout(end, SETTLING_MS));
  setTimeout(end, LONGEST_MS);
})();
