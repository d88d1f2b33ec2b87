// A film scrubber: frames with captions, play/pause, a slider. Runs as the js_on_load of a gr.HTML (see film.py).
// A frame carries its picture ("src") or a key by which server.picture gives it when it is first shown.
const cache = new Map();
let name = null, at = 0, timer = null, latest = 0;
const find = (selector) => element.querySelector(selector);
const frames = () => {
  const { frames = [], steps = [], caption } = props.value || {};
  return [...frames, ...steps.map((step) => ({ key: String(step), caption: caption.replace("{}", step.toLocaleString("en")) }))];
};

element.innerHTML = `<div class="film" hidden><div class="screen"><div class="rows"></div><div class="image"></div></div><div class="caption" aria-live="off"></div>
  <div class="controls"><button type="button" class="play"></button><input type="range" min="0" step="1"></div><div class="remark"></div></div>`;

async function picture(frame) {
  const id = frame.src || `${name}/${props.value.made}/${frame.key}`;
  if (!cache.has(id)) {
    if (cache.size > 120) cache.delete(cache.keys().next().value);
    const image = new Image();
    cache.set(id, (async () => {
      image.src = frame.src || (await server.picture({ name, key: frame.key }));
      await image.decode();
      return image;
    })());
    cache.get(id).catch(() => cache.delete(id));
  }
  return cache.get(id);
}
async function show(k) {
  // Only the latest request is drawn, and only when its picture is ready: nothing blinks.
  const frame = frames()[k];
  if (!frame) return;
  at = k;
  const turn = ++latest;
  find("input").value = k;
  find("input").setAttribute("aria-valuetext", frame.caption);
  try {
    const image = await picture(frame);
    if (turn !== latest) return;
    image.alt = `${props.value.alt}: ${frame.caption}`;
    image.className = image.naturalWidth < 1.5 * find(".image").clientWidth ? "tiny" : "";
    image.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    find(".image").replaceChildren(image);
    find(".caption").textContent = frame.caption;
  } catch (error) { /* the picture is gone (a resumed run makes it again): the last one stays */ }
}
function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(() => (at + 1 < frames().length ? show(at + 1) : play(false)), props.value.pace || 160) : null;
  find(".play").classList.toggle("playing", on);
  find(".play").setAttribute("aria-label", on ? props.value.words.pause : props.value.words.play);
}
function draw() {
  const value = props.value, film = find(".film");
  film.hidden = !frames().length;
  if (film.hidden) { name = null; return; }
  const last = frames().length - 1, fresh = name !== value.name;
  const stay = !fresh && at < Number(find("input").max);
  name = value.name;
  find("input").max = last;
  find("input").setAttribute("aria-label", value.alt);
  find(".controls").hidden = last === 0;
  find(".remark").textContent = value.note || "";
  find(".rows").replaceChildren(...(value.rows || []).map(([label, colour]) => {
    const row = document.createElement("span");
    row.textContent = label;
    row.style.setProperty("--c", `var(--colour-${colour})`);
    return row;
  }));
  if (fresh) play(false);
  if (fresh && value.autoplay && !matchMedia("(prefers-reduced-motion: reduce)").matches) { show(0); play(true); }
  else if (!timer) show(stay ? Math.min(at, last) : last);
}
find(".play").addEventListener("click", () => {
  if (!timer && at + 1 >= frames().length) show(0);
  play(!timer);
});
find("input").addEventListener("input", (e) => { play(false); show(Number(e.target.value)); });
watch("value", draw);
draw();
