// Lessons in a column of their own beside every tab, on a phone a sheet at its foot, and the address that holds the moment. Shares the
// scope of stage.js: state, catalog, set, word.
const lessonOf = (id) => catalog.lessons.find((each) => each.id === id);
const progress = JSON.parse(localStorage.getItem("lessons") || "{}"); // by lesson: the steps that were opened, and what was done in them
const reached = (lesson) => progress[lesson.id]?.steps ?? 0;
const doneIn = (lesson) => ((progress[lesson.id] ||= { steps: 0, actions: {} }).actions);
const saveProgress = () => localStorage.setItem("lessons", JSON.stringify(progress));
const sheetSize = new ResizeObserver(([entry]) => document.body.style.setProperty("--sheet", `${entry.target.offsetHeight}px`));

const narrow = matchMedia("(max-width: 1100px)"), drawNarrow = () => document.body.classList.toggle("narrow", narrow.matches);
narrow.addEventListener("change", drawNarrow);
drawNarrow();

function turnTo(lesson, k) {
  if (lesson?.steps[k]) set({ lesson: lesson.id, step: k, ...lesson.steps[k].set });
}
function drawCoach() {
  sheetSize.disconnect();
  document.getElementById("coach")?.remove();
  const lesson = lessonOf(state.lesson);
  link();
  document.body.classList.toggle("coached", Boolean(lesson));
  if (!lesson) return document.body.style.removeProperty("--sheet");
  state.step = Math.min(Math.max(0, state.step), lesson.steps.length - 1);
  doneIn(lesson);
  progress[lesson.id].steps = Math.max(reached(lesson), state.step + 1);
  saveProgress();
  const coach = create("aside", "coach"), body = create("div", "coach-body");
  coach.id = "coach";
  coach.setAttribute("aria-label", lesson.title);
  body.innerHTML = lesson.steps[state.step].html;
  body.append(actionsOf(lesson));
  coach.append(coachHead(lesson, coach), body, coachFoot(lesson));
  document.body.append(coach);
  sheetSize.observe(coach);
  drawLessons();
}
function coachHead(lesson, coach) {
  const head = create("header"), dots = create("nav", "dots");
  const close = button("soft close", "×", () => set({ lesson: "" })), fold = button("soft fold", "–", () => { fold.textContent = coach.classList.toggle("folded") ? "+" : "–"; });
  close.setAttribute("aria-label", word("close"));
  fold.setAttribute("aria-label", word("fold"));
  dots.append(...lesson.steps.map((step, k) => {
    const dot = button(k < reached(lesson) ? "dot-step done" : "dot-step", "", () => turnTo(lesson, k));
    dot.title = word("step_of", { step: k + 1, steps: lesson.steps.length, title: step.title });
    dot.setAttribute("aria-label", dot.title);
    if (k === state.step) dot.setAttribute("aria-current", "step");
    return dot;
  }));
  head.append(create("small", "", lesson.title), dots, create("strong", "", lesson.steps[state.step].title), fold, close);
  return head;
}
function actionsOf(lesson) {
  // What a step tells one to do, as buttons that do it.
  const box = create("div", "coach-actions"), done = doneIn(lesson);
  box.append(...lesson.steps[state.step].actions.map((action, k) => {
    const name = `${state.step}/${k}`, node = button(done[name] ? "soft do done" : "soft do", action.label, () => {
      done[name] = true;
      saveProgress();
      node.classList.add("done");
      set(action.set);
    });
    return node;
  }));
  return box;
}
function coachFoot(lesson) {
  const foot = create("footer"), count = lesson.steps.length, following = catalog.lessons[catalog.lessons.indexOf(lesson) + 1];
  const back = button("soft", word("back"), () => turnTo(lesson, state.step - 1));
  back.disabled = state.step === 0;
  const onward = state.step < count - 1 ? button("strong", word("next"), () => turnTo(lesson, state.step + 1))
    : following ? button("strong", word("next_lesson", { title: following.title }), () => turnTo(following, 0))
    : button("strong", word("done"), () => set({ lesson: "" }));
  foot.append(back, create("span", "", `${state.step + 1} / ${count}`), onward);
  return foot;
}
function drawLessons() {
  const box = find(".learn-lessons");
  if (!box) return;
  box.replaceChildren(create("h2", "path-heading", word("lessons")), ...catalog.lessons.map((lesson) => {
    const entry = button("", lesson.title, () => turnTo(lesson, reached(lesson) < lesson.steps.length ? Math.max(0, reached(lesson) - 1) : 0));
    entry.title = lesson.summary;
    if (reached(lesson)) entry.append(create("small", "", reached(lesson) < lesson.steps.length ? `${reached(lesson)}/${lesson.steps.length}` : "✓"));
    entry.toggleAttribute("aria-current", lesson.id === state.lesson);
    return entry;
  }));
}

function link() {
  const url = new URL(location);
  const put = (name, value) => (value === "" || value === null || value === undefined ? url.searchParams.delete(name) : url.searchParams.set(name, value));
  put("lesson", state.lesson);
  put("step", state.lesson ? state.step : "");
  put("station", state.station);
  put("model", state.chosen ? state.model : "");
  put("picture", state.picture.startsWith("own:") ? "" : state.picture);
  put("t", state.t);
  put("seed", state.seed || "");
  url.searchParams.delete("preset");
  drawMomentCode(url.href);
  history.replaceState(history.state, "", url);
}
function fromLink() {
  const query = Object.fromEntries(new URLSearchParams(location.search)), number = (name) => (query[name] === undefined || Number.isNaN(Number(query[name])) ? null : Math.round(Number(query[name])));
  if (stationOf(query.station)) state.station = query.station;
  if (query.model) { state.model = query.model; state.chosen = true; }
  if (query.picture) state.picture = query.picture;
  state.seed = validSeed(query.seed);
  state.t = number("t");
  const lesson = catalog.lessons.find((each) => each.id === query.lesson);
  if (!lesson) return {};
  const step = Math.min(Math.max(0, number("step") ?? 0), lesson.steps.length - 1);
  return { lesson: lesson.id, step, ...lesson.steps[step].set, ...(state.t === null ? {} : { t: state.t }), ...(query.station ? { station: query.station } : {}) };
}
