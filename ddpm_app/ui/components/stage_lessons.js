// Lessons in a card over every tab, and the address that holds the moment. Shares the scope of stage.js: state, catalog, set, word.
function drawCoach() {
  document.getElementById("coach")?.remove();
  const lesson = catalog.lessons.find((each) => each.id === state.lesson);
  link();
  document.body.classList.toggle("coached", Boolean(lesson));
  if (!lesson) return;
  state.step = Math.min(Math.max(0, state.step), lesson.steps.length - 1);
  const step = lesson.steps[state.step], coach = create("aside", "coach"), head = create("header"), body = create("div", "coach-body"), foot = create("footer");
  coach.id = "coach";
  coach.setAttribute("aria-label", lesson.title);
  const turnTo = (k) => set({ lesson: lesson.id, step: k, ...lesson.steps[k].set });
  head.append(create("small", "", lesson.title), create("strong", "", step.title), button("soft close", "×", () => set({ lesson: "" })));
  head.lastChild.setAttribute("aria-label", word("close"));
  const fold = button("soft fold", "–", () => { coach.classList.toggle("folded"); fold.textContent = coach.classList.contains("folded") ? "+" : "–"; });
  fold.setAttribute("aria-label", word("fold"));
  head.append(fold);
  body.innerHTML = step.html;
  const back = button("soft", word("back"), () => turnTo(state.step - 1)), next = button("strong", word("next"), () => turnTo(state.step + 1));
  back.disabled = state.step === 0;
  const last = state.step === lesson.steps.length - 1;
  foot.append(back, create("span", "", `${state.step + 1} / ${lesson.steps.length}`), last ? button("strong", word("done"), () => set({ lesson: "" })) : next);
  coach.append(head, body, foot);
  document.body.append(coach);
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
