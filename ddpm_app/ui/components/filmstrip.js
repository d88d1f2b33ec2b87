// The previews of a run (see filmstrip.py): the strip is a range input over small pictures, the picture below it fades into the next.
// Runs as the js_on_load of a gr.HTML. Picture and small pictures are asked for when they are first shown.
const SLOT = 26, WIDEST = 75, PLAY = 52, FADE = 500, KEPT = 120; // least and greatest width of a small picture and of the button (px), ms of a fade, pictures in memory
const pictures = new Map(), small = new Map();
let film = "", at = 0, timer = null, turn = 0, asking = false;
const find = (selector) => element.querySelector(selector);
const steps = () => props.value?.steps || [];
const caption = (step) => props.value.caption.replace("{}", step.toLocaleString("en"));
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

element.innerHTML = `<div class="filmstrip" hidden>
  <div class="reel"><button type="button" class="play"></button><div class="track"><div class="stamps"></div><input type="range" min="0" step="1"></div></div>
  <div class="image"></div><div class="caption" aria-live="off"></div></div>`;

function picture(step) {
  const id = `${film}/${step}`;
  if (!pictures.has(id)) {
    if (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
    const { name } = props.value;
    pictures.set(id, (async () => {
      const image = new Image();
      image.src = await server.picture({ name, key: String(step) });
      await image.decode();
      return image;
    })());
    pictures.get(id).catch(() => pictures.delete(id));
  }
  return pictures.get(id);
}
function put(image, fade) {
  // The old picture stays below the new one until that is all there.
  const box = find(".image"), old = [...box.children].filter((other) => other !== image);
  image.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  image.className = box.clientWidth > 2.5 * image.naturalWidth ? "tiny" : "";
  for (const animation of image.getAnimations()) animation.cancel();
  box.append(image);
  const done = () => { if (image.parentNode === box) for (const other of old) other.remove(); };
  if (!fade || !old.length || still()) return done();
  image.animate([{ opacity: 0 }, { opacity: 1 }], { duration: FADE, easing: "ease-in-out" }).finished.then(done, () => {});
}
async function show(k, fade = false) {
  const step = steps()[k];
  if (step === undefined) return;
  at = k;
  const mine = ++turn;
  find("input").value = k;
  find("input").setAttribute("aria-valuetext", caption(step));
  mark();
  try {
    const image = await picture(step);
    if (mine !== turn) return;
    image.alt = `${props.value.alt}: ${caption(step)}`;
    put(image, fade);
    find(".caption").textContent = caption(step);
  } catch (error) { /* the picture is gone (a resumed run makes it again): the last one stays */ }
}
function mark() {
  const boxes = [...element.querySelectorAll(".stamps i:not(.coming)")], last = Math.max(1, steps().length - 1);
  boxes.forEach((box, k) => box.classList.toggle("now", k === Math.round(at * (boxes.length - 1) / last)));
}
function drawStrip() {
  // As many small pictures as there is room for, spread evenly; then a place for each that is to come.
  const all = steps(), { coming } = props.value, places = Math.max(2, Math.floor((find(".reel").clientWidth - PLAY) / SLOT));
  const count = all.length + coming, shown = count <= places ? all.length : Math.max(1, Math.min(all.length, Math.round(places * all.length / count)));
  const chosen = Array.from({ length: shown }, (_, k) => all[shown < 2 ? all.length - 1 : Math.round(k * (all.length - 1) / (shown - 1))]);
  const empty = Math.min(places, count) - shown;
  find(".stamps").replaceChildren(...chosen.map((step) => {
    const box = document.createElement("i"), src = small.get(`${film}/${step}`);
    if (src) box.style.backgroundImage = `url("${src}")`;
    return box;
  }), ...Array.from({ length: empty }, () => Object.assign(document.createElement("i"), { className: "coming" })));
  const share = shown / (shown + empty);
  find(".track").style.maxWidth = `${WIDEST * (shown + empty)}px`;
  find(".track").style.setProperty("--share", share);
  find(".track").style.setProperty("--slots", all.length);
  mark();
  ask(chosen.filter((step) => !small.has(`${film}/${step}`)));
}
async function ask(missing) {
  if (asking || !missing.length) return;
  asking = true;
  const mine = film, { name } = props.value;
  try {
    const answer = await server.thumbs({ name, keys: missing.join() });
    for (const step of missing) small.set(`${mine}/${step}`, answer[step] || "");
  } catch (error) { for (const step of missing) small.set(`${mine}/${step}`, ""); }
  asking = false;
  if (props.value) drawStrip();
}
function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(() => (at + 1 < steps().length ? show(at + 1, true) : play(false)), props.value.pace) : null;
  find(".play").classList.toggle("playing", on);
  find(".play").setAttribute("aria-label", on ? props.value.words.pause : props.value.words.play);
}
function draw() {
  const value = props.value, box = find(".filmstrip");
  box.hidden = !steps().length;
  if (box.hidden) { film = ""; return; }
  const last = steps().length - 1, id = `${value.name}/${value.made}`, fresh = id !== film;
  const follows = fresh || at >= Number(find("input").max);
  film = id;
  if (fresh) small.clear();
  find("input").max = last;
  find("input").setAttribute("aria-label", value.alt);
  find(".reel").hidden = last === 0 && !value.coming;
  find(".play").disabled = last === 0;
  if (fresh) { play(false); find(".image").replaceChildren(); }
  drawStrip();
  if (!timer) show(follows ? last : Math.min(at, last), !fresh && follows);
}
find(".play").addEventListener("click", () => {
  if (!timer && at + 1 >= steps().length) show(0);
  play(!timer);
});
find("input").addEventListener("input", (event) => { play(false); show(Number(event.target.value)); });
new ResizeObserver(() => { if (steps().length) drawStrip(); }).observe(find(".reel"));
watch("value", draw);
draw();
