// The Learn tab: the path of stations, the choice at the top, and the stage. Runs as the js_on_load of a gr.HTML after panels.js and
// lessons.js (see ddpm_app/ui/learn/tab.py). The server answers `ask` piece by piece; the newest question wins.
const client = Math.random().toString(36).slice(2);
const state = { station: "tensor", model: "", picture: "", seed: 0, t: null, timesteps: 1000, values: {}, chosen: false, page: 0, asked: "none", lesson: "", step: 0 };
let catalog = null, lang = "", turn = 0, busy = false, wish = null, frame = null, shelf = "";
const word = (key, values = {}) => Object.entries(values).reduce((text, [name, value]) => text.replace(`[${name}]`, value), catalog.words[key] ?? key);
const one = (selector) => element.querySelector(selector);
const stationOf = (id) => catalog.stations.find((each) => each.id === id);
const labelOf = (value) => props.value.models.find(([, key]) => key === value)?.[0] ?? value;
const button = (name, text, act) => { const made = Object.assign(make("button", name, text), { type: "button" }); made.addEventListener("click", act); return made; };

// ---- asking ---------------------------------------------------------------------------------------------------------
function ask(pressed = "") {
  wish = { pressed: pressed || wish?.pressed || "" };
  turn += 1;
  link();
  if (!busy) answer();
}
async function answer() {
  busy = true;
  while (wish) {
    const { pressed } = wish, mine = turn;
    wish = null;
    tell("busy", word("working"));
    const values = state.values[state.station] || {};
    let query = { client, visitor: props.value.visitor, turn: mine, lang, station: state.station, model: state.model, picture: state.picture, t: state.t ?? -1, seed: state.seed, values, pressed };
    const asked = state.station;
    let note = "";
    try {
      for (let more = true; more && mine === turn; ) {
        const news = await server.ask(query);
        if (mine !== turn || news.stale) break;
        query.more ||= !news.again;
        more = news.more;
        if (news.status) tell("busy", news.status);
        if (news.error) { complain(news.error); more = false; }
        note = news.note || note;
        if (news.panels) { one(".learn-error").replaceChildren(...(note ? [make("div", "note warn", note)] : [])); show(asked, news); }
      }
      if (mine === turn) tell("ready", "");
    } catch (error) {
      console.error(error);
      if (mine === turn) { complain(word("lost")); tell("ready", ""); }
    }
  }
  busy = false;
}
function tell(now, text) {
  frame.dataset.state = now;
  one(".learn-status").textContent = text;
}
function complain(text) {
  one(".learn-error").replaceChildren(make("div", "note bad", text));
  one(".panels").replaceChildren();
}
function show(station, news) {
  if (news.asked !== state.asked) { state.asked = news.asked; drawControls(); drawChoice(); }
  if (state.picture === "") { state.picture = news.picture; drawThumbs(); }
  if (news.timesteps !== state.timesteps || state.t === null) {
    state.timesteps = news.timesteps;
    state.t = Math.min(state.t ?? Math.round(0.4 * news.timesteps), news.timesteps - 1);
    drawTime();
  }
  drawPanels(one(".panels"), news.panels, set);
}

const whole = (seed) => Math.min(2 ** 31, Math.max(0, Math.round(Number(seed) || 0))); // as the server takes it, so that the field shows what is drawn

// ---- what one may set: by a control, a picture, a lesson or a link -----------------------------------------------------
function set(values) {
  const { station, model, picture, seed, t, tab, preset, lesson, ...rest } = values;
  if (preset || (tab && tab !== "learn")) trigger("click", { tab: tab || "config", preset });
  else if (tab) trigger("click", { tab });
  if (lesson !== undefined) { state.lesson = lesson; state.step = Number(values.step) || 0; drawCoach(); delete rest.step; }
  const asks = [station, model, picture, seed, t].some((value) => value !== undefined) || Object.keys(rest).length;
  if (!asks) return;
  if (model !== undefined) { state.model = model; state.chosen = true; }
  if (picture !== undefined) state.picture = String(picture);
  if (seed !== undefined) state.seed = whole(seed);
  if (t !== undefined) state.t = Math.max(0, Math.round(Number(t) || 0));
  if (station !== undefined && stationOf(station)) go(station, rest);
  else {
    Object.assign((state.values[state.station] ||= {}), rest);
    drawChoice();
    drawControls();
    ask();
  }
}
function go(id, rest = {}) {
  const changed = id !== state.station || !one(".panels").children.length;
  state.station = id;
  Object.assign((state.values[id] ||= {}), rest);
  if (!state.chosen) state.model = followed() || stationOf(id).model;
  if (changed) {
    one(".panels").style.minHeight = `${one(".panels").offsetHeight}px`; // the page doesn't jump up while the next station is empty
    one(".panels").replaceChildren();
  }
  drawStation();
  ask();
  requestAnimationFrame(() => { one(".panels").style.minHeight = ""; });
}
// The run on show, as long as the viewer has chosen no model and the station wants no special one.
const followed = () => (stationOf(state.station).model === "shipped:butterflies-64" ? props.value.follow : "");

// ---- the frame ------------------------------------------------------------------------------------------------------
function build() {
  element.innerHTML = `<div class="learn"><nav class="learn-path"></nav><div class="learn-main">
    <div class="learn-choice"><label class="pick-model"><span></span><select></select></label><button type="button" class="soft snapshot" hidden></button>
      <label class="pick-seed"><span></span><input type="number" min="0" step="1"></label>
      <label class="pick-t"><span></span><output></output><input type="range" min="0" step="1"></label></div>
    <div class="pick-picture"><span class="label"></span><div class="thumbs"></div></div>
    <div class="learn-head"><div><h3></h3><p></p></div><span class="learn-status" role="status"></span></div>
    <div class="learn-controls"></div><div class="learn-error" aria-live="polite"></div><div class="panels"></div>
    <div class="learn-more"></div></div></div>`;
  frame = element.firstElementChild;
  one(".pick-model select").addEventListener("change", (event) => { state.picture = ""; state.page = 0; set({ model: event.target.value }); });
  one(".pick-seed input").addEventListener("change", (event) => set({ seed: event.target.value }));
  one(".pick-t input").addEventListener("input", (event) => { state.t = Number(event.target.value); drawTime(); ask(); });
  one(".snapshot").addEventListener("click", async () => { const told = await server.snapshot({ lang, model: state.model, visitor: props.value.visitor }); told.error ? complain(told.error) : tell("ready", word("snapshot_asked")); });
}
function drawPath() {
  const entries = catalog.stations.map((station, k) => {
    const entry = button("", "", () => go(station.id));
    entry.dataset.station = station.id;
    entry.append(make("b", "", String(k + 1)), make("span", "", station.title));
    return entry;
  });
  const lessons = make("div", "learn-lessons");
  lessons.append(make("h4", "", word("lessons")), ...catalog.lessons.map((lesson) => {
    const entry = button("", lesson.title, () => set({ lesson: lesson.id, step: 0, ...lesson.steps[0].set }));
    entry.title = lesson.summary;
    return entry;
  }));
  const path = make("div", "learn-stations");
  path.append(make("h4", "", word("path")), ...entries);
  one(".learn-path").replaceChildren(path, lessons);
  one(".learn-path").setAttribute("aria-label", word("path"));
}
function drawStation() {
  const station = stationOf(state.station);
  frame.dataset.station = state.station;
  for (const entry of element.querySelectorAll("[data-station]")) if (entry !== frame) entry.toggleAttribute("aria-current", entry.dataset.station === state.station);
  const current = one(".learn-path [aria-current]");
  if (current && one(".learn-stations").scrollWidth > one(".learn-stations").clientWidth) one(".learn-stations").scrollTo({ left: current.offsetLeft - 40 });
  one(".learn-head h3").textContent = station.title;
  one(".learn-head p").textContent = station.what;
  drawChoice();
  drawControls();
  drawMore(station);
}
function drawChoice() {
  const uses = stationOf(state.station).uses, select = one(".pick-model select");
  one(".pick-model span").textContent = word("model");
  one(".pick-seed span").textContent = word("seed");
  one(".pick-picture .label").textContent = word("picture");
  select.replaceChildren(...props.value.models.map(([label, value]) => new Option(label, value, false, value === state.model)));
  select.value = state.model;
  one(".pick-seed input").value = state.seed;
  for (const [name, part] of [["picture", ".pick-picture"], ["seed", ".pick-seed"], ["t", ".pick-t"]]) one(part).hidden = !uses.includes(name) && !(name === "picture" && uses.includes("asked") && state.asked !== "none");
  one(".snapshot").hidden = !props.value.training || state.model !== props.value.training;
  one(".snapshot").textContent = word("snapshot");
  drawTime();
  drawThumbs();
}
function drawTime() {
  const input = one(".pick-t input");
  one(".pick-t span").textContent = word("timestep");
  input.max = state.timesteps - 1;
  input.value = state.t ?? Math.round(0.4 * state.timesteps);
  one(".pick-t output").textContent = `${input.value} / ${state.timesteps - 1}`;
}
async function drawThumbs() {
  const box = one(".thumbs"), wanted = `${lang}/${state.model}/${state.page}`;
  if (shelf !== wanted) {
    shelf = wanted;
    const found = await server.pictures({ lang, visitor: props.value.visitor, model: state.model, page: state.page });
    if (shelf !== wanted) return;
    box.replaceChildren(...(found.pictures || []).map((picture) => {
      const thumb = button("thumb", "", () => set({ picture: picture.key }));
      thumb.dataset.key = picture.key;
      thumb.title = picture.told + (picture.heldOut ? ` (${word("held_out")})` : "");
      thumb.classList.toggle("held-out", picture.heldOut);
      thumb.append(Object.assign(make("img"), { src: picture.src, alt: thumb.title }));
      return thumb;
    }), button("soft", word("others"), () => { state.page += 1; drawThumbs(); }), ownPicture());
  }
  for (const thumb of box.querySelectorAll(".thumb")) thumb.setAttribute("aria-pressed", String(thumb.dataset.key === state.picture));
}
function ownPicture() {
  const label = make("label", "soft own", word("own")), input = Object.assign(make("input"), { type: "file", accept: "image/*" });
  label.append(input);
  input.addEventListener("change", async () => {
    if (!input.files[0]) return;
    const data = await shrunk(input.files[0]);
    const told = data ? await server.own({ lang, data }) : { error: word("no_picture") };
    told.error ? complain(told.error) : set({ picture: told.key });
  });
  return label;
}
async function shrunk(file) {
  // A photograph of many megabytes is made small before it travels.
  try {
    const bitmap = await createImageBitmap(file), share = Math.min(1, 768 / Math.max(bitmap.width, bitmap.height));
    const canvas = Object.assign(document.createElement("canvas"), { width: Math.max(1, Math.round(bitmap.width * share)), height: Math.max(1, Math.round(bitmap.height * share)) });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/png");
  } catch (error) { return ""; }
}
function controlOf(control) {
  const values = (state.values[state.station] ||= {}), value = values[control.name] ?? control.default;
  if (control.kind === "action") return button("soft action", control.label, () => ask(control.name));
  const label = make("label", `control ${control.kind}`);
  label.append(make("span", "", control.label));
  const take = (next) => { values[control.name] = next; ask(); };
  if (control.kind === "choice") {
    const select = make("select");
    select.append(...control.options.map(([name, told]) => new Option(told, name, false, name === value)));
    select.addEventListener("change", () => take(select.value));
    label.append(select);
  } else if (control.kind === "toggle") {
    const input = Object.assign(make("input"), { type: "checkbox", checked: value });
    input.addEventListener("change", () => take(input.checked));
    label.prepend(input);
  } else if (control.kind === "words") {
    const input = Object.assign(make("input"), { type: "text", value, maxLength: 300 });
    input.addEventListener("change", () => take(input.value));
    label.append(input);
  } else {
    const input = Object.assign(make("input"), { type: "range", min: control.low, max: control.high, step: control.step, value }), output = make("output", "", String(value));
    input.addEventListener("input", () => { output.textContent = input.value; take(Number(input.value)); });
    label.append(output, input);
  }
  label.dataset.control = control.name;
  return label;
}
function drawControls() {
  const focused = document.activeElement?.closest?.("[data-control]")?.dataset.control;
  one(".learn-controls").replaceChildren(...stationOf(state.station).controls.filter((control) => !control.asking || state.asked !== "none").map(controlOf));
  if (focused) one(`[data-control="${focused}"] :is(input, select)`)?.focus();
}
function drawMore(station) {
  const folded = (title, fill) => {
    const box = make("details"), content = make("div");
    box.append(make("summary", "", title), content);
    box.addEventListener("toggle", () => { if (box.open && !content.childNodes.length) fill(content); });
    return box;
  };
  const details = (pick) => async (content) => {
    content.append(make("p", "quiet", word("working")));
    content.replaceChildren(...pick(await server.details(station.id)));
  };
  const maths = folded(word("maths"), details((found) => found.maths.map((svg) => Object.assign(make("div", "formula"), { innerHTML: svg }))));
  const code = folded(word("code"), details((found) => found.code.map((text) => make("pre", "mono", text))));
  const question = folded(station.question, (content) => content.append(make("p", "", station.answer)));
  question.className = "question";
  one(".learn-more").replaceChildren(maths, code, question);
}

async function draw() {
  const value = props.value;
  if (!value?.lang || !value.models?.length) return;
  if (value.lang !== lang) {
    const first = catalog === null, mine = (lang = value.lang), found = await server.catalog(mine);
    if (mine !== lang) return;
    catalog = found;
    if (first) build();
    drawPath();
    const linked = first ? fromLink() : {};
    go(state.station);
    if (linked.lesson) set(linked);
    else drawCoach();
  } else drawChoice();
}
watch("value", draw);
draw();
