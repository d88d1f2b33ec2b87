// The queue of runs (see waiting_runs.py).
const make = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text || "" });

function draw() {
  const { title, rows = [], words } = props.value || {};
  element.hidden = !rows.length;
  if (!rows.length) return element.replaceChildren();
  const list = make("ol", "waiting-runs");
  list.append(...rows.map((row, k) => {
    const line = make("li", "");
    line.append(make("b", "", row.name), make("small", row.problem ? "bad" : "", row.problem || row.note));
    for (const action of row.id ? Object.keys(words).filter((name) => k || name !== "up") : []) {
      const button = Object.assign(make("button", "soft", words[action]), { type: "button" });
      button.setAttribute("aria-label", `${words[action]}: ${row.name}`);
      button.addEventListener("click", () => trigger("click", { id: row.id, action }));
      line.append(button);
    }
    return line;
  }));
  element.replaceChildren(make("h3", "", title), list);
}
watch("value", draw);
draw();
