// Panels of a station (see ddpm_app/learn/panels.py): drawPanels(stage, panels, set) draws or redraws each in its box. `set` takes what a
// click on a picture, a cell or a piece of markup sets. Stands before stage_lessons.js and stage.js in one script (see stage.py).
const create = (tag, name, text) => Object.assign(document.createElement(tag), name ? { className: name } : {}, text === undefined ? {} : { textContent: text });
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
  const figure = coloured(create("figure", image.colour ? "framed" : ""), image.colour);
  const img = Object.assign(create("img"), { src: image.src, alt: image.caption });
  if (image.set) {
    const button = Object.assign(create("button", "bare"), { type: "button" });
    button.append(img);
    button.setAttribute("aria-label", image.caption);
    button.addEventListener("click", () => set(image.set));
    figure.append(button);
  } else figure.append(img);
  if (captioned) figure.append(create("figcaption", "", image.caption || "\u00a0"));
  return figure;
}
function colourBar(scale) {
  const bar = create("div", "colour-bar"), strip = create("i");
  strip.style.background = `linear-gradient(to right, ${scale.stops.join(", ")})`;
  bar.append(create("span", "", scale.low), strip, create("span", "", scale.high), create("em", "", scale.caption));
  return bar;
}
function picturesPanel(box, panel, set) {
  const rows = panel.rows.map((row) => {
    const line = create("div", "picture-row"), strip = create("div", "strip");
    if (row.label) line.append(coloured(create("div", row.colour ? "row-label dot" : "row-label", row.label), row.colour));
    const captioned = row.images.some((image) => image.caption);
    strip.append(...row.images.map((image) => pictureOf(image, captioned, set)));
    line.append(strip);
    if (row.colour_bar) line.append(colourBar(row.colour_bar));
    return line;
  });
  box.classList.add(panel.size);
  box.style.setProperty("--columns", Math.max(1, ...panel.rows.map((row) => row.images.length)));
  box.replaceChildren(...(panel.title ? [create("h4", "", panel.title)] : []), ...rows, ...(panel.note ? [create("p", "remark", panel.note)] : []));
}
function cellOf(tag, value, set) {
  const node = create(tag), cell = typeof value === "object" ? value : { text: value };
  coloured(node, cell.colour);
  if (typeof cell.bar === "number") {
    const bar = create("i", "cell-bar");
    bar.style.width = `${100 * Math.max(0, Math.min(1, cell.bar))}%`;
    node.append(bar);
  }
  const text = create("span", cell.colour ? "dot" : "", cell.text);
  if (cell.set) {
    const button = Object.assign(create("button", "link"), { type: "button" });
    button.append(text);
    button.addEventListener("click", () => set(cell.set));
    node.append(button);
  } else node.append(text);
  return node;
}
function tablePanel(box, panel, set) {
  const table = create("table"), head = create("thead"), body = create("tbody"), top = create("tr");
  top.append(...panel.head.map((text) => Object.assign(cellOf("th", text, set), { scope: "col" })));
  head.append(top);
  body.append(...panel.rows.map((row) => {
    const line = create("tr");
    line.append(...row.map((value, k) => (k ? cellOf("td", value, set) : Object.assign(cellOf("th", value, set), { scope: "row" }))));
    return line;
  }));
  table.append(...(panel.head.some((text) => text) ? [head] : []), body);
  const scroll = create("div", "scroll");
  scroll.append(table);
  box.replaceChildren(...(panel.title ? [create("h4", "", panel.title)] : []), scroll);
}
function markupPanel(box, panel, set) {
  box.innerHTML = panel.html;
  for (const node of box.querySelectorAll("[data-set]")) clickable(node, JSON.parse(node.dataset.set), set);
}
function notePanel(box, panel) {
  box.replaceChildren(create("div", `note ${panel.tone}`, panel.text));
}
function partPanel(box, value, start, server) {
  // A component of its own inside a panel: it is created once and then follows its value.
  if (box.inner) { box.inner.value = value; return box.redraw(); }
  box.inner = { value };
  start(box, box.inner, (_, redraw) => { box.redraw = redraw; }, server);
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
    box.version = (box.version || 0) + 1;
    partPanel(box, { name: panel.name, made: box.version, step: 0, words: panel.words, caption: panel.caption }, comparePart, { picture: async () => box.pair });
  },
};
const placeOf = (panel) => panel.place || (["film", "slider"].includes(panel.kind) ? "stage" : panel.kind === "table" ? "numbers" : "beside");
function drawPanels(floor, panels, set) {
  // A panel keeps its box while the station stands, so that nothing jumps and a film stays where it was.
  const [stage, beside, numbers] = [".on-stage", ".beside-stage", ".numbers > div"].map((part) => floor.querySelector(part));
  const old = new Map([...floor.querySelectorAll(".panel")].map((box) => [box.dataset.name, box]));
  const onStage = panels.some((panel) => placeOf(panel) === "stage"), columns = { stage, beside, numbers };
  const boxes = panels.map((panel) => {
    const text = JSON.stringify(panel);
    let box = old.get(panel.name);
    if (!box || box.dataset.kind !== panel.kind) {
      box = create("section", `panel panel-${panel.kind}`);
      Object.assign(box.dataset, { name: panel.name, kind: panel.kind });
    }
    return { box, panel, text, column: columns[!onStage && panel.kind === "charts" ? "stage" : placeOf(panel)] };
  });
  for (const column of Object.values(columns)) {
    const mine = boxes.filter((each) => each.column === column).map((each) => each.box);
    if (mine.length !== column.children.length || mine.some((box, k) => box !== column.children[k])) column.replaceChildren(...mine);
  }
  numbers.parentNode.hidden = !numbers.children.length;
  // As many rows of large pictures as share the height of the screen.
  const large = boxes.filter(({ panel, column }) => column === stage && panel.kind === "pictures" && panel.size !== "small").map(({ panel }) => panel);
  stage.style.setProperty("--rows", Math.max(1, large.reduce((sum, panel) => sum + panel.rows.length, 0)));
  for (const { box, panel, text } of boxes) {
    if (box.text === text) continue;
    box.text = text;
    const at = focusable(box).indexOf(document.activeElement);
    PANELS[panel.kind](box, panel, set); // in the page by now: a plot asks how wide it is
    if (at >= 0) focusable(box)[at]?.focus({ preventScroll: true }); // the keyboard stays where it was
  }
}
const focusable = (box) => [...box.querySelectorAll("button, input, [tabindex]")];
