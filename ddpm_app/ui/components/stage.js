// The Learn tab: the path of stations, the choice at the top, and the stage. Runs as the js_on_load of a gr.HTML after stage_panels.js and
// stage_lessons.js (see stage.py). How page and server speak with each other stands in ddpm_app/learn/sessions.py.
const client = Math.random().toString(36).slice(2);
const state = { station: "tensor", model: "", picture: "", seed: 0, t: null, timesteps: 1000, values: {}, chosen: false, chosenAt: "", standIn: "", page: 0, conditioning: "none", lesson: "", step: 0 };
let catalog = null, lang = "", turn = 0, busy = false, pending = null, frame = null, thumbsOf = "", textsOf = "";
const word = (key, values = {}) => Object.entries(values).reduce((text, [name, value]) => text.replace(`[${name}]`, value), catalog.words[key] ?? key);
const find = (selector) => element.querySelector(selector);
const stationOf = (id) => catalog.stations.find((each) => each.id === id);
const button = (name, text, act) => { const node = Object.assign(create("button", name, text), { type: "button" }); node.addEventListener("click", act); return node; };

// ---- asking ---------------------------------------------------------------------------------------------------------
const RESTING_MS = 200; // a hand that rests so long on t wants to see it exactly
let resting = null, painting = 0, panelsOnPage = [];

function ask(pressed = "") {
  clearTimeout(resting);
  pending = { pressed: pressed || pending?.pressed || "" };
  turn += 1;
  setStatus("busy", word("working")); // at once: a key frame may be on its way still
  if (!busy) work();
}
async function work() {
  // One request at a time: first the newest of what is wanted, then, while nothing is, key frames.
  busy = true;
  for (let t = null; pending || (t = keyTime()) !== null; ) await (pending ? answerNewest() : collect(t));
  busy = false;
}
const queryOf = () => ({ client, visitor: props.value.visitor, turn, lang, station: state.station, model: state.model, picture: state.picture, insists: state.chosenAt === state.station, t: state.t ?? -1, seed: state.seed, values: { ...state.values[state.station] } });
async function answerNewest() {
  // What comes is shown even if the hand has moved on, as long as station and model are the same; then the newest is asked for.
  const myTurn = turn, query = { ...queryOf(), pressed: pending.pressed };
  pending = null;
  link();
  const isNewest = () => myTurn === turn, onStage = () => query.station === state.station && query.model === state.model;
  const isBlended = () => query.t >= 0 && query.t !== state.t && blendNow(); // the hand sees something newer already
  let note = "", news = false;
  try {
    for (let more = true; more && (isNewest() || (onStage() && !news)); ) {
      const answer = await server.ask(query);
      if (answer.stale || !onStage()) return;
      query.more ||= !answer.again;
      more = answer.more;
      if (answer.status) setStatus("busy", answer.status);
      if (answer.error) { showError(answer.error); more = false; }
      note = answer.note || note;
      if (answer.model) { state.standIn = answer.model; drawChoice(); }
      if (!answer.panels) continue;
      news = true;
      if (isBlended()) return;
      find(".learn-error").replaceChildren(...(note ? [create("div", "note warn", note)] : []));
      showPanels(answer);
    }
    if (isNewest()) setStatus("ready", "");
  } catch (error) {
    console.error(error);
    if (isNewest()) { showError(word("lost")); setStatus("ready", ""); }
  }
}

// ---- t under the hand -------------------------------------------------------------------------------------------------
const momentOf = () => JSON.stringify([lang, state.station, state.model, state.picture, state.seed, state.values[state.station] || {}]);
let failed = ""; // the moment of which no key frames come

function keyTime() {
  const wanted = stationOf(state.station).follows_t && state.t !== null && panelsOnPage.length && failed !== momentOf() && find(".learn-main").offsetParent !== null;
  return wanted ? nextKeyTime(momentOf(), state.timesteps) : null;
}
async function collect(t) {
  const moment = momentOf(), query = { ...queryOf(), t, key_frame: true }, onPage = panelsOnPage;
  try {
    while (!pending) {
      const answer = await server.ask(query);
      query.more ||= !answer.again;
      if (answer.panels) { await keepKeyFrame(moment, t, answer.panels, onPage); frame.dataset.keyFrames = keyFrames.byTime.size; return; }
      if (answer.stale || answer.error || !answer.more) break;
    }
    if (!pending) failed = moment;
  } catch (error) {
    failed = moment; // the next change asks again, and says so if there is no answer
  }
}
const blendNow = () => blendedPanels(momentOf(), state.t, panelsOnPage);
function follow() {
  // Without key frames on both sides of t every answer is shown as it comes.
  if (!blendNow()) return ask();
  clearTimeout(resting);
  resting = setTimeout(ask, RESTING_MS);
  painting ||= requestAnimationFrame(() => {
    painting = 0;
    paintPanels(find(".panels"), blendNow() || []);
  });
}
function setStatus(now, text) {
  frame.dataset.state = now;
  find(".learn-status").textContent = text;
}
function showError(text) {
  find(".learn-error").replaceChildren(create("div", "note bad", text));
  clearPanels();
}
function clearPanels() {
  for (const column of element.querySelectorAll(".on-stage, .beside-stage, .numbers > div")) column.replaceChildren();
  panelsOnPage = [];
}
function showPanels(answer) {
  panelsOnPage = answer.panels;
  if (answer.conditioning !== state.conditioning) { state.conditioning = answer.conditioning; drawControls(); drawChoice(); }
  if (state.picture === "") { state.picture = answer.picture; drawThumbs(); }
  if (answer.timesteps !== state.timesteps || state.t === null) {
    state.timesteps = answer.timesteps;
    state.t = Math.min(state.t ?? Math.round(0.4 * answer.timesteps), answer.timesteps - 1);
    drawTime();
  }
  drawPanels(find(".panels"), answer.panels, set);
}

const validSeed = (seed) => Math.min(2 ** 31, Math.max(0, Math.round(Number(seed) || 0))); // as the server takes it, so that the field shows what is drawn

// ---- what one may set: by a control, a picture, a lesson or a link -----------------------------------------------------
function set(values) {
  const { station, model, picture, seed, t, tab, preset, fields, start, press, lesson, ...rest } = values;
  if (start) document.querySelector("#button-start")?.click();
  if (preset || fields || (tab && tab !== "learn")) trigger("click", { tab: tab || "config", preset, fields });
  else if (tab) trigger("click", { tab });
  if (lesson !== undefined) { state.lesson = lesson; state.step = Number(values.step) || 0; drawCoach(); delete rest.step; }
  const asks = [station, model, picture, seed, t, press].some((value) => value !== undefined) || Object.keys(rest).length;
  if (!asks) return;
  if (model !== undefined) { state.model = model; state.standIn = ""; state.chosen = true; state.chosenAt = station ?? state.station; }
  if (picture !== undefined) state.picture = String(picture);
  if (seed !== undefined) state.seed = validSeed(seed);
  if (t !== undefined) state.t = Math.max(0, Math.round(Number(t) || 0));
  if (station !== undefined && stationOf(station)) go(station, rest);
  else {
    Object.assign((state.values[state.station] ||= {}), rest);
    drawChoice();
    drawControls();
    ask(press);
  }
}
function go(id, rest = {}) {
  const changed = id !== state.station || !panelsOnPage.length;
  state.station = id;
  state.standIn = "";
  Object.assign((state.values[id] ||= {}), rest);
  if (!state.chosen) state.model = followed() || stationOf(id).model;
  if (changed) {
    find(".panels").style.minHeight = `${find(".panels").offsetHeight}px`; // the page doesn't jump up while the next station is empty
    clearPanels();
  }
  drawStation();
  ask();
  requestAnimationFrame(() => { find(".panels").style.minHeight = ""; });
}
// The run on show, as long as the viewer has chosen no model and the station wants no special one.
const followed = () => (stationOf(state.station).model === "shipped:butterflies-64" ? props.value.follow : "");

// ---- the frame ------------------------------------------------------------------------------------------------------
function build() {
  element.innerHTML = `<div class="learn"><nav class="learn-path"></nav><div class="learn-main">
    <div class="learn-head"><h3></h3><p></p><span class="learn-status" role="status"></span><button type="button" class="soft present"></button></div><div class="learn-error" aria-live="polite"></div>
    <div class="panels"><div class="learn-stage"><div class="on-stage"></div><div class="dock">
        <label class="pick-t"><span></span><output></output><input type="range" min="0" step="1"></label><div class="dock-controls"></div></div><div class="learn-controls"></div></div>
      <figure class="moment"></figure><div class="learn-choice"><div class="picks"><label class="pick-model"><span></span><select></select></label><label class="pick-seed"><span></span><input type="number" min="0" step="1"></label></div>
        <button type="button" class="soft snapshot" hidden></button><div class="pick-picture"><span class="label"></span><div class="thumbs"></div></div></div>
      <div class="beside-stage"></div><details class="numbers" hidden><summary></summary><div></div></details></div></div></div>`;
  frame = element.firstElementChild;
  find(".pick-model select").addEventListener("change", (event) => { state.picture = ""; state.page = 0; set({ model: event.target.value }); });
  find(".pick-seed input").addEventListener("change", (event) => set({ seed: event.target.value }));
  find(".pick-t input").addEventListener("input", (event) => { state.t = Number(event.target.value); drawTime(); follow(); });
  find(".pick-t input").addEventListener("change", () => ask());
  find(".present").addEventListener("click", () => present(!document.body.classList.contains("presenting")));
  document.addEventListener("keydown", onKey);
  find(".snapshot").addEventListener("click", async () => { const answer = await server.snapshot({ lang, model: state.model, visitor: props.value.visitor }); answer.error ? showError(answer.error) : setStatus("ready", word("snapshot_asked")); });
}
function drawPath() {
  const entries = catalog.stations.map((station, k) => {
    const entry = button("", "", () => go(station.id));
    entry.dataset.station = station.id;
    entry.append(create("b", "", String(k + 1)), create("span", "", station.title));
    return entry;
  });
  const lessons = create("div", "learn-lessons");
  const path = create("div", "learn-stations");
  path.append(create("h2", "path-heading", word("path")), ...entries);
  find(".learn-path").replaceChildren(lessons, path);
  find(".learn-path").setAttribute("aria-label", word("path"));
  drawLessons();
  find(".present").textContent = word("present");
}
function drawStation() {
  const station = stationOf(state.station);
  frame.dataset.station = state.station;
  for (const entry of element.querySelectorAll("[data-station]")) if (entry !== frame) entry.toggleAttribute("aria-current", entry.dataset.station === state.station);
  const current = find(".learn-path [aria-current]");
  if (current && find(".learn-stations").scrollWidth > find(".learn-stations").clientWidth) find(".learn-stations").scrollTo({ left: current.offsetLeft - 40 });
  find(".learn-head h3").textContent = station.title;
  find(".learn-head p").textContent = station.what;
  drawChoice();
  drawControls();
  if (textsOf !== lang + station.id) { // its formulas, code and question stand below the stage (see tabs/learn.py)
    textsOf = lang + station.id;
    trigger("select", { station: station.id, lang });
  }
}
function drawChoice() {
  const uses = stationOf(state.station).uses, select = find(".pick-model select");
  find(".pick-model span").textContent = word("model");
  find(".pick-seed span").textContent = word("seed");
  find(".pick-picture .label").textContent = word("picture");
  select.replaceChildren(...props.value.models.map(([label, value]) => new Option(label, value, false, value === state.model)));
  select.value = state.standIn || state.model; // the one that stands in where the chosen one can't be shown
  find(".pick-seed input").value = state.seed;
  for (const [name, part] of [["picture", ".pick-picture"], ["seed", ".pick-seed"], ["t", ".pick-t"]]) find(part).hidden = !uses.includes(name) && !(name === "picture" && uses.includes("condition") && state.conditioning !== "none");
  find(".snapshot").hidden = !props.value.training || state.model !== props.value.training;
  find(".snapshot").textContent = word("snapshot");
  find(".numbers summary").textContent = word("numbers");
  drawTime();
  drawThumbs();
}
function drawTime() {
  const input = find(".pick-t input");
  find(".pick-t span").textContent = word("timestep");
  input.max = state.timesteps - 1;
  input.value = state.t ?? Math.round(0.4 * state.timesteps);
  find(".pick-t output").textContent = `${input.value} / ${state.timesteps - 1}`;
}
async function drawThumbs() {
  const box = find(".thumbs"), source = `${lang}/${state.model}/${state.page}`;
  if (thumbsOf !== source) {
    thumbsOf = source;
    const answer = await server.thumbnails({ lang, visitor: props.value.visitor, model: state.model, page: state.page });
    if (thumbsOf !== source) return;
    box.replaceChildren(...(answer.pictures || []).map((picture) => {
      const thumb = button("thumb", "", () => set({ picture: picture.key }));
      thumb.dataset.key = picture.key;
      thumb.title = picture.caption + (picture.held_out ? ` (${word("held_out")})` : "");
      thumb.classList.toggle("held-out", picture.held_out);
      thumb.append(Object.assign(create("img"), { src: picture.src, alt: thumb.title }));
      return thumb;
    }), button("soft", word("others"), () => { state.page += 1; drawThumbs(); }), ownPicture());
  }
  for (const thumb of box.querySelectorAll(".thumb")) thumb.setAttribute("aria-pressed", String(thumb.dataset.key === state.picture));
}
function ownPicture() {
  const label = create("label", "soft own", word("own")), input = Object.assign(create("input"), { type: "file", accept: "image/*" });
  label.append(input);
  input.addEventListener("change", async () => {
    if (!input.files[0]) return;
    const data = await shrunk(input.files[0]);
    const answer = data ? await server.upload({ lang, data }) : { error: word("no_picture") };
    answer.error ? showError(answer.error) : set({ picture: answer.key });
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
  const label = create("label", `control ${control.kind}`);
  label.append(create("span", "", control.label));
  const take = (next) => { values[control.name] = next; ask(); };
  if (control.kind === "choice") {
    const select = create("select");
    select.append(...control.options.map(([name, text]) => new Option(text, name, false, name === value)));
    select.addEventListener("change", () => take(select.value));
    label.append(select);
  } else if (control.kind === "toggle") {
    const input = Object.assign(create("input"), { type: "checkbox", checked: value });
    input.addEventListener("change", () => take(input.checked));
    label.prepend(input);
  } else if (control.kind === "textbox") {
    const input = Object.assign(create("input"), { type: "text", value, maxLength: 300 });
    input.addEventListener("change", () => take(input.value));
    label.append(input);
  } else {
    const input = Object.assign(create("input"), { type: "range", min: control.low, max: control.high, step: control.step, value }), output = create("output", "", String(value));
    input.addEventListener("input", () => { output.textContent = input.value; take(Number(input.value)); });
    label.append(output, input);
  }
  label.dataset.control = control.name;
  return label;
}
function drawControls() {
  const focused = document.activeElement?.closest?.("[data-control]")?.dataset.control;
  // What is pulled or pressed while one looks at the pictures stands at them, on a phone at the foot of the screen.
  const offered = stationOf(state.station).controls.filter((control) => !control.conditional || state.conditioning !== "none"), docked = (control) => ["slider", "action"].includes(control.kind);
  find(".dock-controls").replaceChildren(...offered.filter(docked).map(controlOf));
  find(".learn-controls").replaceChildren(...offered.filter((control) => !docked(control)).map(controlOf));
  if (focused) find(`[data-control="${focused}"] :is(input, select)`)?.focus();
}
async function draw() {
  const value = props.value;
  if (!value?.lang || !value.models?.length) return;
  if (value.lang !== lang) {
    const first = catalog === null, newLang = (lang = value.lang), answer = await server.catalog(newLang);
    if (newLang !== lang) return;
    catalog = answer;
    if (first) build();
    drawPath();
    const linked = first ? fromLink() : {};
    go(state.station);
    if (linked.lesson) set(linked);
    else drawCoach();
  } else if (catalog) drawChoice();
}
watch("value", draw);
draw();
addEventListener("learn", (event) => catalog && set(event.detail)); // from a picture elsewhere on the page
