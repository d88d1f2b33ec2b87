// The first view (see home.py). A film that ships moves until the model has drawn; then its drawings are played one after another, each
// as a strip of all its steps, blended in the browser. It draws a few by itself while somebody looks, later only what is requested.
const FRAME_MS = 110, LAST_MS = 1700, FADE_MS = 350; // per step, for the finished picture, from one drawing to the next
const BLENDS = 3; // pictures painted per step: more is not seen, and costs a machine without a GPU a core
const IDLE_DRAWINGS = 6, RETRY_MS = 800, TRAINING_MS = 15000;
const SEEDS = 1000000;
const find = (name) => element.querySelector("." + name);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const drawings = [];
let idle = 0, pending = false, requested = null, at = -1, began = 0, painted = "", looping = false, retry = null;

element.innerHTML = `<div class="home">
  <figure class="home-stage"><div class="home-screen"><picture><source media="(prefers-reduced-motion: reduce)" srcset="first_view/still.webp">
    <img src="first_view/film.webp" width="128" height="128" alt=""></picture><canvas hidden></canvas><i class="home-busy" hidden></i></div>
    <figcaption><span class="home-origin"></span><span class="home-caption"></span></figcaption></figure>
  <div class="home-words"><h2></h2><p class="home-lead"></p>
    <form class="home-form"><input type="text" class="home-prompt" maxlength="300" autocomplete="off" enterkeyhint="go"><button type="submit" class="home-draw"></button></form>
    <div class="home-chips" role="group"></div><p class="home-answer" role="status"></p></div>
  <div class="home-doors"></div>
  <figure class="home-minute"><figcaption></figcaption><img src="first_view/minute.webp" width="778" height="258" loading="lazy" alt=""></figure></div>`;
const canvas = find("home-screen").querySelector("canvas"), pen = canvas.getContext("2d");

const isVisible = () => element.isConnected && element.offsetParent !== null && !document.hidden;
const number = () => Math.floor(Math.random() * SEEDS);
const words = () => props.value?.words || {};

// ---- asking the server -------------------------------------------------------------------------------------------------
async function ask(query) {
  if (pending) { if (!query.idle) requested = query; return; }
  pending = true;
  find("home-busy").hidden = Boolean(query.idle);
  let answer;
  try { answer = await server.draw({ lang: window.studioLanguage, ...query }); } catch (error) { answer = { error: words().failed }; }
  pending = false;
  find("home-busy").hidden = true;
  if (answer.later) later(RETRY_MS, () => (query.idle ? wish() : ask(query)));
  else if (answer.training) later(TRAINING_MS, wish);
  else if (answer.error) { if (query.idle) later(TRAINING_MS, wish); else say(answer.error); }
  else await take(answer, query);
  if (answer.later && !query.idle) find("home-busy").hidden = false;
  if (requested) { const next = requested; requested = null; ask(next); }
}
// One thing waits at a time, and nothing else is drawn by itself until it is done.
function later(milliseconds, act) {
  clearTimeout(retry);
  retry = setTimeout(() => { retry = null; act(); }, milliseconds);
}
function wish() {
  if (retry || idle >= IDLE_DRAWINGS || pending || !isVisible() || !props.value?.prompts) return;
  const prompts = props.value.prompts;
  ask({ prompt: prompts[idle % prompts.length], seed: number(), idle: true });
}
async function take(answer, query) {
  const image = new Image();
  image.src = answer.strip;
  await image.decode();
  const drawing = { ...answer, image, side: image.naturalHeight };
  drawings.push(drawing);
  if (drawings.length > IDLE_DRAWINGS) { drawings.shift(); at -= 1; }
  if (query.idle) idle += 1;
  else say(answer.unknown.length ? words().unknown.replace("{}", () => answer.unknown.join(", ")) : "");
  if (!query.idle || at < 0) play(drawings.length - 1);
  loop();
}
const say = (text) => { find("home-answer").textContent = text; };

// ---- playing -------------------------------------------------------------------------------------------------------------
function play(k) {
  at = k;
  began = performance.now();
  const { prompt, seed, side } = drawings[k];
  if (canvas.width !== side) { canvas.width = canvas.height = side; }
  canvas.hidden = false;
  find("home-screen").dataset.live = "yes";
  find("home-origin").textContent = words().live || "";
  find("home-caption").textContent = `“${prompt}” · ${words().seed} ${seed}`;
  canvas.setAttribute("aria-label", prompt);
}
function paint(now) {
  const { image, steps, side } = drawings[at], time = still.matches ? steps * FRAME_MS : now - began;
  const position = Math.min(steps - 1, Math.round((BLENDS * time) / FRAME_MS) / BLENDS), k = Math.floor(position);
  const look = `${began} ${position} ${time < FADE_MS}`;
  if (look === painted) return time > steps * FRAME_MS + LAST_MS;
  painted = look;
  const stamp = (j, alpha) => { pen.globalAlpha = alpha; pen.drawImage(image, j * side, 0, side, side, 0, 0, side, side); };
  stamp(k, time < FADE_MS ? 0.2 : 1); // the drawing before fades away
  if (k + 1 < steps) stamp(k + 1, position - k);
  return time > steps * FRAME_MS + LAST_MS;
}
function loop() {
  if (looping) return;
  looping = true;
  requestAnimationFrame(function tick(now) {
    if (!isVisible() || at < 0) { looping = false; return; }
    if (paint(now) && (drawings.length > 1 || idle < IDLE_DRAWINGS) && !still.matches) {
      if (at + 1 < drawings.length || idle >= IDLE_DRAWINGS) play((at + 1) % drawings.length);
    }
    if (idle < IDLE_DRAWINGS && at >= drawings.length - 1 && !pending) wish();
    requestAnimationFrame(tick);
  });
}
function look() {
  if (!isVisible()) { clearTimeout(retry); retry = null; return; }
  if (drawings.length) loop(); else wish();
}

// ---- what it says ----------------------------------------------------------------------------------------------------------
function draw() {
  const { words: texts, prompts } = props.value || {};
  if (!texts) return;
  element.querySelector("h2").textContent = texts.title;
  find("home-lead").textContent = texts.lead;
  find("home-prompt").placeholder = prompts[0];
  find("home-prompt").setAttribute("aria-label", texts.prompt);
  find("home-draw").textContent = texts.draw;
  find("home-chips").setAttribute("aria-label", texts.examples);
  if (!drawings.length) { find("home-origin").textContent = texts.film; find("home-caption").textContent = texts.film_note; }
  find("home-screen").querySelector("img").alt = texts.alt;
  find("home-chips").replaceChildren(...prompts.map((prompt) => button("home-chip", prompt, () => { find("home-prompt").value = prompt; request(); })));
  find("home-doors").replaceChildren(...["train", "pictures", "learn"].map((name) => {
    const door = button("home-door", texts[name], () => leave(name));
    door.dataset.door = name;
    door.append(Object.assign(document.createElement("small"), { textContent: texts[`${name}_note`] }));
    return door;
  }));
  find("home-minute").querySelector("figcaption").textContent = texts.minute;
  find("home-minute").querySelector("img").alt = texts.minute;
  look();
}
function button(name, text, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: name });
  made.append(Object.assign(document.createElement("span"), { textContent: text }));
  made.addEventListener("click", act);
  return made;
}
function leave(name) {
  const start = ["button-start", "button-next"].map((id) => document.getElementById(id)).find((each) => each?.offsetParent);
  if (name === "train" && start) start.click();
  else trigger("click", { door: name });
}
function request() {
  const prompt = find("home-prompt").value.trim() || props.value.prompts[0];
  say("");
  ask({ prompt, seed: number() });
}
find("home-form").addEventListener("submit", (event) => { event.preventDefault(); request(); });
watch("value", draw);
document.addEventListener("visibilitychange", look);
new IntersectionObserver(look).observe(element);
draw();
