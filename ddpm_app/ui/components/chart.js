// Plots of a run as SVG, redrawn in place from small JSON (see ddpm_app/plots.py). Not gr.LinePlot, which has no log axis, leaves a
// series that first appears after the first drawing invisible, and draws the previous data when another property changes with the
// value. Runs as the js_on_load of a gr.HTML: `element` is the component's box, `props.value` the frame, `watch` tells of a new one. The
// template holds nothing, so Gradio never touches what is drawn here.
const PAD = { left: 52, right: 12, top: 8, bottom: 26 };
const scales = {}; // chart name -> "log" or "linear", as the viewer chose
let frame = null, hover = null;
const escape = (s) => String(s).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const number = (v) => v === 0 ? "0" : Math.abs(v) >= 1e4 || Math.abs(v) < 2e-3 ? v.toExponential(1).replace("e+", "e").replace(".0e", "e") : String(+v.toPrecision(3));
const count = (v) => Math.abs(v) < 10 ? String(+v.toPrecision(2)) : v >= 1e6 ? `${+(v / 1e6).toPrecision(3)}M` : v >= 1e4 ? `${+(v / 1e3).toPrecision(3)}k` : String(Math.round(v * 10) / 10);
const isLog = (c) => c.log !== null && (scales[c.name] ?? (c.log ? "log" : "linear")) === "log";

function niceTicks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const ticks = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) ticks.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return ticks;
}
function logTicks(low, high) {
  let best = [low, high];
  for (const parts of [[1], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    const ticks = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
      for (const m of parts) if (m * 10 ** e >= low * 0.999 && m * 10 ** e <= high * 1.001) ticks.push(m * 10 ** e);
    if (ticks.length > 7 && best.length > 1) return best;
    if (ticks.length > 1) best = ticks;
    if (ticks.length >= 4) return ticks;
  }
  return best;
}
function yRange(chart, log) {
  // Single spikes of the faint raw line don't squeeze the others: its range is the middle 98 %.
  let low = Infinity, high = -Infinity;
  for (const { style, y } of chart.lines) {
    const sorted = y.filter((v) => !log || v > 0).sort((a, b) => a - b), cut = style === "faint" ? Math.floor(sorted.length / 100) : 0;
    if (!sorted.length) continue;
    low = Math.min(low, sorted[cut]);
    high = Math.max(high, sorted[sorted.length - 1 - cut]);
  }
  if (low > high) return [log ? 0.1 : 0, 1];
  if (log) return low === high ? [low / 2, high * 2] : [low / 1.1, high * 1.1];
  return low === high ? [Math.min(0, low), high * 1.2 || 1] : [Math.min(low, 0), high + (high - low) * 0.06];
}
function plan(chart, width, height) {
  const log = isLog(chart), [low, high] = yRange(chart, log);
  const ends = chart.lines.flatMap((l) => [l.x[0], l.x[l.x.length - 1]]);
  const half = Math.max(0, ...chart.lines.map((l) => (l.style === "bars" ? (l.x[1] - l.x[0]) / 2 || 0.5 : 0)));
  const left = Math.min(0, ...ends) - half, right = Math.max(chart.xMax ?? (half ? -Infinity : 1), ...ends) + half;
  const f = log ? (v) => Math.log10(Math.max(v, low / 10)) : (v) => v;
  return {
    log, low, high, left, right, width, height,
    x: (v) => PAD.left + ((v - left) / (right - left)) * (width - PAD.left - PAD.right),
    y: (v) => height - PAD.bottom - ((f(v) - f(low)) / (f(high) - f(low))) * (height - PAD.top - PAD.bottom),
  };
}
function drawBars(line, p) {
  const width = 0.84 * (p.x(line.x[1] ?? 1) - p.x(line.x[0])), base = p.y(p.low);
  const bars = line.x.map((x, k) => `<rect x="${(p.x(x) - width / 2).toFixed(1)}" y="${p.y(line.y[k]).toFixed(1)}" width="${width.toFixed(1)}" height="${Math.max(0, base - p.y(line.y[k])).toFixed(1)}"/>`);
  return `<g class="bars" style="--c:var(--colour-${line.colour})">${bars.join("")}</g>`;
}
function drawLine(line, p) {
  if (line.style === "bars") return drawBars(line, p);
  const dots = line.x.map((x, k) => [p.x(x).toFixed(1), p.y(line.y[k]).toFixed(1)]);
  const path = line.style === "points" ? "" : `<path class="${line.style}" d="M${dots.map((d) => d.join(",")).join("L")}"/>`;
  const marks = ["dots", "points"].includes(line.style) || dots.length === 1 ? dots.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="2.6"/>`).join("") : "";
  return `<g style="--c:var(--colour-${line.colour})">${path}${marks}</g>`;
}
function marker(chart, p, base) {
  if (chart.at === null || chart.at === undefined) return "";
  const x = p.x(chart.at).toFixed(1);
  return `<line class="marker" x1="${x}" x2="${x}" y1="${PAD.top}" y2="${base}"/>`;
}
function drawPlot(chart, p) {
  const base = p.height - PAD.bottom, id = `clip-${chart.name}-${p.width}`;
  const ys = (p.log ? logTicks(p.low, p.high) : niceTicks(p.low, p.high, 4))
    .map((v) => `<line class="rule" x1="${PAD.left}" x2="${p.width - PAD.right}" y1="${p.y(v)}" y2="${p.y(v)}"/><text x="${PAD.left - 8}" y="${p.y(v) + 4}" text-anchor="end">${number(v)}</text>`);
  const xs = niceTicks(p.left, p.right, p.width > 560 ? 8 : p.width > 360 ? 4 : 3)
    .map((v) => `<text x="${p.x(v)}" y="${base + 18}" text-anchor="${p.x(v) > p.width - 30 ? "end" : "middle"}">${count(v)}</text>`);
  return `<defs><clipPath id="${id}"><rect x="${PAD.left}" y="0" width="${p.width - PAD.left - PAD.right + 4}" height="${base}"/></clipPath></defs>
    ${ys.join("")}<line class="axis" x1="${PAD.left}" x2="${p.width - PAD.right}" y1="${base}" y2="${base}"/>${xs.join("")}
    <g clip-path="url(#${id})">${chart.lines.map((l) => drawLine(l, p)).join("")}</g>${marker(chart, p, base)}<line class="cursor" y1="${PAD.top}" y2="${base}" visibility="hidden"/>`;
}
const nearest = (line, x) => line.x.reduce((best, v, k) => Math.abs(v - x) < Math.abs(line.x[best] - x) ? k : best, 0);

function legend(chart, x) {
  // The legend is the read-out: the values under the pointer, else those at the marker or the latest.
  return chart.lines.map((l) => {
    const k = x === null ? (chart.at === null || chart.at === undefined ? l.x.length - 1 : nearest(l, chart.at)) : nearest(l, x);
    const value = l.style === "bars" && x === null ? "" : number(l.y[k]); // of a histogram the last bar says nothing
    return `<span class="key" style="--c:var(--colour-${l.colour})"><i class="${l.style}"></i>${escape(l.label)} <b>${value}</b></span>`;
  }).join("");
}
function drawChart(chart, box) {
  const svg = box.querySelector("svg"), width = Math.round(box.querySelector(".plot").clientWidth), height = chart.wide ? 280 : 190;
  if (!width) return;
  const p = plan(chart, width, height), x = hover?.name === chart.name ? hover.x : null;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", `${chart.title}: ${chart.lines.map((l) => `${l.label} ${number(l.y[l.y.length - 1])}`).join(", ") || frame.words.empty}`);
  svg.style.height = `${height}px`;
  svg.innerHTML = drawPlot(chart, p);
  box.querySelector(".legend").innerHTML = chart.lines.length ? legend(chart, x) : `<span class="none">${escape(frame.words.empty)}</span>`;
  box.querySelector(".unit").textContent = x === null ? chart.unit : `${chart.unit} ${count(x)}`;
  const toggle = box.querySelector("button");
  if (toggle) toggle.textContent = isLog(chart) ? frame.words.log : frame.words.linear;
  if (x !== null) {
    const cursor = svg.querySelector(".cursor");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, p.x(x));
    cursor.setAttribute("visibility", "visible");
  }
  box.toX = (client) => {
    const at = (client - svg.getBoundingClientRect().left - PAD.left) / (p.width - PAD.left - PAD.right);
    const target = p.left + Math.min(1, Math.max(0, at)) * (p.right - p.left), longest = chart.lines.reduce((a, b) => b.x.length > a.x.length ? b : a, { x: [] });
    return longest.x.length ? longest.x[nearest(longest, target)] : null;
  };
}
function build(chart) {
  const box = document.createElement("figure");
  box.className = `chart${chart.wide ? " wide" : ""}`;
  box.dataset.name = chart.name;
  const toggle = chart.log === null ? "" : `<button type="button" class="scale"></button>`;
  box.innerHTML = `<figcaption><strong></strong>${toggle}</figcaption><div class="legend"></div><div class="plot"><svg role="img"></svg></div><div class="unit"></div>`;
  const find = () => frame.charts.find((c) => c.name === chart.name);
  box.querySelector("button")?.addEventListener("click", () => { scales[chart.name] = isLog(find()) ? "linear" : "log"; drawChart(find(), box); });
  const plot = box.querySelector(".plot");
  plot.addEventListener("pointermove", (e) => { const x = box.toX?.(e.clientX) ?? null; hover = x === null ? null : { name: chart.name, x }; drawChart(find(), box); });
  plot.addEventListener("pointerleave", () => { hover = null; drawChart(find(), box); });
  return box;
}
function unpack(lines) {
  // x travels as differences, and once for neighbours that share it.
  let x = [];
  return lines.map((line) => {
    let at = 0;
    x = line.x ? line.x.map((d) => (at += d)) : x;
    return { ...line, x };
  });
}
function draw() {
  const value = props.value;
  if (!value || !value.charts) return;
  frame = { ...value, charts: value.charts.map((c) => ({ ...c, lines: unpack(c.lines) })) };
  const names = [...element.querySelectorAll("figure.chart")].map((b) => b.dataset.name);
  if (names.join() !== frame.charts.map((c) => c.name).join()) element.replaceChildren(...frame.charts.map(build));
  frame.charts.forEach((chart, k) => {
    const box = element.children[k];
    box.querySelector("strong").textContent = chart.title;
    drawChart(chart, box);
  });
}
watch("value", draw);
new ResizeObserver(draw).observe(element);
draw();
