// Key frames of t: collected by stage.js while nothing else is asked for, and blended here while the hand moves. Stands between
// stage_panels.js, whose pictures and panels it uses, and stage.js.
const KEY_FRAMES = 16;
const keyFrames = { moment: "", byTime: new Map() };
const decoded = new Map(); // their pictures by data URI, to be drawn at once

function nextKeyTime(moment, timesteps) {
  // The ends first, then the middles between those that are there: a few already reach over all t.
  if (keyFrames.moment !== moment) { keyFrames.moment = moment; keyFrames.byTime = new Map(); decoded.clear(); }
  const last = timesteps - 1, times = [...new Set(Array.from({ length: KEY_FRAMES }, (_, k) => Math.round((k * last) / (KEY_FRAMES - 1))))];
  const missing = times.filter((t) => !keyFrames.byTime.has(t)), far = (t) => Math.min(...[...keyFrames.byTime.keys()].map((other) => Math.abs(t - other)));
  for (const end of [0, last]) if (missing.includes(end)) return end;
  return missing.length ? missing.reduce((best, t) => (far(t) > far(best) ? t : best)) : null;
}
async function keepKeyFrame(moment, t, panels, pagePanels) {
  // A picture that the page shows already came as "".
  if (keyFrames.moment !== moment) return;
  eachPicture(panels, pagePanels, (picture, onPage) => { picture.src ||= onPage?.src ?? ""; });
  const sources = [];
  eachPicture(panels, panels, (picture) => { if (picture.src) sources.push(picture.src); });
  await Promise.all(sources.map(decode));
  if (keyFrames.moment === moment) keyFrames.byTime.set(t, panels);
}
function eachPicture(panels, others, act) {
  for (const panel of panels) {
    const other = others.find((each) => each.name === panel.name);
    panel.rows?.forEach((row, r) => row.images?.forEach((picture, k) => act(picture, other?.rows?.[r]?.images?.[k])));
  }
}
async function decode(src) {
  if (decoded.has(src)) return;
  const image = new Image();
  image.src = src;
  await image.decode();
  decoded.set(src, image);
}

function blendedPanels(moment, t, panels) {
  // Those of the panels on the page that move, as they are about t; null where no key frames lie on both sides of it.
  if (keyFrames.moment !== moment) return null;
  const times = [...keyFrames.byTime.keys()].sort((a, b) => a - b), after = times.findIndex((time) => time >= t);
  if (after < 0 || (after === 0 && times[0] !== t)) return null;
  const to = times[after], from = times[after - (times[after] !== t)], share = to === from ? 0 : (t - from) / (to - from);
  const [before, behind] = [from, to].map((time) => new Map(keyFrames.byTime.get(time).map((panel) => [panel.name, panel])));
  return panels.flatMap((panel) => {
    const a = before.get(panel.name), b = behind.get(panel.name);
    if (!a || !b) return [];
    return panel.kind === "charts" ? blendedCharts(a, b, share) : blendedPictures(a, b, share);
  });
}
const between = (a, b, share) => a + (b - a) * share;
function blendedCharts(a, b, share) {
  // Their mark walks along; what is drawn stays.
  const charts = a.value.charts.map((chart, k) => ({ ...chart, at: Number.isFinite(chart.at) ? Math.round(between(chart.at, b.value.charts[k].at, share)) : chart.at }));
  return { ...a, value: { ...a.value, charts } };
}
function blendedPictures(a, b, share) {
  const rows = a.rows.map((row, r) => ({ ...row, label: blendedText(row.label, b.rows[r].label, share), images: row.images.map((picture, k) => blendedPicture(picture, b.rows[r].images[k], share)) }));
  return { ...a, rows, note: blendedText(a.note, b.note, share) };
}
function blendedPicture(a, b, share) {
  if (!b) return a;
  const src = a.src === b.src ? a.src : { from: a.src, to: b.src, share };
  return { ...a, src, caption: blendedText(a.caption, b.caption, share) };
}
function blendedText(a, b, share) {
  // Sentences that differ in their numbers only get the numbers between.
  const number = /-?\d+(?:\.\d+)?/g, others = b.match(number) || [];
  if (a === b || a.replace(number, "#") !== b.replace(number, "#")) return share < 0.5 ? a : b;
  let k = 0;
  return a.replace(number, (text) => between(Number(text), Number(others[k]), share).toFixed(Math.max(decimals(text), decimals(others[k++]))));
}
const decimals = (text) => (text.split(".")[1] || "").length;

function paintPanels(stage, panels) {
  // Into the boxes that are there: nothing is built anew sixty times a second. The next exact panels replace what was painted.
  for (const panel of panels) {
    const box = stage.querySelector(`[data-name="${panel.name}"]`);
    if (!box || !["charts", "pictures"].includes(panel.kind)) continue;
    box.text = "";
    if (panel.kind === "charts") PANELS.charts(box, panel);
    else paintPictures(box, panel);
  }
}
function paintPictures(box, panel) {
  const figures = box.querySelectorAll("figure"), pictures = panel.rows.flatMap((row) => row.images), labels = box.querySelectorAll(".row-label"), remark = box.querySelector(".remark");
  panel.rows.filter((row) => row.label).forEach((row, r) => setText(labels[r], row.label));
  if (remark) setText(remark, panel.note);
  pictures.forEach((picture, k) => {
    const caption = figures[k]?.querySelector("figcaption");
    if (caption) setText(caption, picture.caption || "\u00a0");
    if (picture.src.from && figures[k]) paint(canvasIn(figures[k], picture.caption), picture.src);
  });
}
function canvasIn(figure, caption) {
  const node = figure.querySelector("img, canvas");
  if (node.tagName === "CANVAS") return node;
  const canvas = Object.assign(create("canvas"), { width: node.naturalWidth, height: node.naturalHeight, role: "img", ariaLabel: caption });
  node.replaceWith(canvas);
  return canvas;
}
function paint(canvas, { from, to, share }) {
  const pen = canvas.getContext("2d");
  pen.globalAlpha = 1;
  pen.drawImage(decoded.get(from), 0, 0, canvas.width, canvas.height);
  pen.globalAlpha = share;
  pen.drawImage(decoded.get(to), 0, 0, canvas.width, canvas.height);
}
const setText = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };
