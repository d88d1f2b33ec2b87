// Panels of a station (see ddpm_app/ui/learn/scene.py): drawPanel(box, panel, set) draws or redraws one in its box. `set` takes what a
// click on a picture, a cell or a piece of markup sets.
const make = (tag, name, text) => Object.assign(document.createElement(tag), name ? { className: name } : {}, text === undefined ? {} : { textContent: text });
const coloured = (node, colour) => { if (colour) node.style.setProperty("--c", `var(--colour-${colour})`); return node; };

function clickable(node, values, set) {
  node.addEventListener("click", () => set(values));
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    set(values);
  });
  return node;
}
function pictureOf(image, captioned, set) {
  const figure = coloured(make("figure", image.colour ? "framed" : ""), image.colour);
  const shown = Object.assign(make("img"), { src: image.src, alt: image.told || "" });
  if (image.set) {
    const button = Object.assign(make("button", "bare"), { type: "button" });
    button.append(shown);
    button.setAttribute("aria-label", image.told || "");
    button.addEventListener("click", () => set(image.set));
    figure.append(button);
  } else figure.append(shown);
  if (captioned) figure.append(make("figcaption", "", image.told || "\u00a0"));
  return figure;
}
function barOf(scale) {
  const bar = make("div", "colour-bar"), strip = make("i");
  strip.style.background = `linear-gradient(to right, ${scale.stops.join(", ")})`;
  bar.append(make("span", "", scale.low), strip, make("span", "", scale.high), make("em", "", scale.told));
  return bar;
}
function picturesPanel(box, panel, set) {
  const rows = panel.rows.map((row) => {
    const line = make("div", "picture-row"), strip = make("div", "strip");
    if (row.label) line.append(coloured(make("div", row.colour ? "row-label dot" : "row-label", row.label), row.colour));
    const captioned = row.images.some((image) => image.told);
    strip.append(...row.images.map((image) => pictureOf(image, captioned, set)));
    line.append(strip);
    if (row.scale) line.append(barOf(row.scale));
    return line;
  });
  box.classList.add(panel.size);
  box.replaceChildren(...(panel.title ? [make("h4", "", panel.title)] : []), ...rows, ...(panel.note ? [make("p", "remark", panel.note)] : []));
}
function cellOf(tag, value, set) {
  const cell = make(tag), told = typeof value === "object" && value !== null ? value : { text: value };
  coloured(cell, told.colour);
  if (told.bar !== undefined) {
    const bar = make("i", "cell-bar");
    bar.style.width = `${100 * Math.max(0, Math.min(1, told.bar))}%`;
    cell.append(bar);
  }
  if (told.src) cell.append(Object.assign(make("img"), { src: told.src, alt: told.text || "" }));
  const text = make("span", told.colour ? "dot" : "", told.text ?? "");
  if (told.set) {
    const button = Object.assign(make("button", "link"), { type: "button" });
    button.append(text);
    button.addEventListener("click", () => set(told.set));
    cell.append(button);
  } else cell.append(text);
  return cell;
}
function tablePanel(box, panel, set) {
  const table = make("table"), head = make("thead"), body = make("tbody"), top = make("tr");
  top.append(...panel.head.map((text) => Object.assign(cellOf("th", text, set), { scope: "col" })));
  head.append(top);
  body.append(...panel.rows.map((row) => {
    const line = make("tr");
    line.append(...row.map((value, k) => (k ? cellOf("td", value, set) : Object.assign(cellOf("th", value, set), { scope: "row" }))));
    return line;
  }));
  table.append(...(panel.head.some((text) => text) ? [head] : []), body);
  const scroll = make("div", "scroll");
  scroll.append(table);
  box.replaceChildren(...(panel.title ? [make("h4", "", panel.title)] : []), scroll);
}
function markupPanel(box, panel, set) {
  box.innerHTML = panel.html;
  for (const node of box.querySelectorAll("[data-set]")) clickable(node, JSON.parse(node.dataset.set), set);
}
function notePanel(box, panel) {
  box.replaceChildren(make("div", `note ${panel.tone}`, panel.text));
}
function partPanel(box, value, start, server) {
  // A component of its own inside a panel: it is made once and then follows its value.
  if (box.inner) { box.inner.value = value; return box.told(); }
  box.inner = { value };
  start(box, box.inner, (_, told) => { box.told = told; }, server);
}
const PANELS = {
  pictures: picturesPanel,
  table: tablePanel,
  markup: markupPanel,
  note: notePanel,
  charts: (box, panel) => partPanel(box, panel.value, chartPart),
  film: (box, panel) => partPanel(box, panel.value, filmPart),
  slider: (box, panel) => {
    box.pair = { before: panel.before, after: panel.after };
    box.made = (box.made || 0) + 1;
    partPanel(box, { name: panel.name, made: box.made, step: 0, words: panel.words, caption: panel.caption }, comparePart, { picture: async () => box.pair });
  },
};
const BESIDE = ["charts", "table", "note"]; // stand in the second column of a wide page
function drawPanels(stage, panels, set) {
  // A panel keeps its box while the station stands, so that nothing jumps and a film stays where it was.
  if (!stage.children.length) stage.append(make("div", "column"), make("div", "column"));
  const [shown, beside] = stage.children, old = new Map([...stage.querySelectorAll(".panel")].map((box) => [box.dataset.name, box]));
  const boxes = panels.map((panel, k) => {
    const text = JSON.stringify(panel);
    let box = old.get(panel.name);
    if (!box || box.dataset.kind !== panel.kind) {
      box = make("section", `panel panel-${panel.kind}`);
      Object.assign(box.dataset, { name: panel.name, kind: panel.kind });
    }
    box.style.order = k; // on a narrow page the columns dissolve and the station's own order holds
    return { box, panel, text, column: BESIDE.includes(panel.kind) ? beside : shown };
  });
  for (const column of [shown, beside]) {
    const mine = boxes.filter((each) => each.column === column).map((each) => each.box);
    if (mine.length !== column.children.length || mine.some((box, k) => box !== column.children[k])) column.replaceChildren(...mine);
    column.hidden = !mine.length;
  }
  stage.classList.toggle("one-column", shown.hidden || beside.hidden);
  for (const { box, panel, text } of boxes) {
    if (box.text === text) continue;
    box.text = text;
    const at = focusable(box).indexOf(document.activeElement);
    PANELS[panel.kind](box, panel, set); // in the page by now: a plot asks how wide it is
    if (at >= 0) focusable(box)[at]?.focus({ preventScroll: true }); // the keyboard stays where it was
  }
}
const focusable = (box) => [...box.querySelectorAll("button, input, [tabindex]")];
