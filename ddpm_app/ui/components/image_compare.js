// Originals under a slider, their reconstructions beside it (see image_compare.py). Runs as the js_on_load of a gr.HTML: the value
// names a run and a step, server.picture gives both grids when they are first shown.
let current = "", latest = 0;
const find = (selector) => element.querySelector(selector);

element.innerHTML = `<div class="compare" hidden><div class="stage"><img class="before"><img class="after"><i></i><b class="left"></b><b class="right"></b></div>
  <input type="range" min="0" max="100" value="50" step="0.5"><div class="caption"></div></div>`;

function move() {
  find(".stage").style.setProperty("--at", `${find("input").value}%`);
}
async function loaded(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}
async function draw() {
  const value = props.value;
  if (!value) { find(".compare").hidden = true; current = ""; return; }
  const id = `${value.name}/${value.made}/${value.step}`;
  if (id === current) return;
  const turn = ++latest;
  try {
    const pair = await server.picture({ name: value.name, key: String(value.step) });
    const images = await Promise.all([loaded(pair.before), loaded(pair.after)]);
    if (turn !== latest || !props.value) return;
    current = id;
    images.forEach((image, k) => {
      image.className = (k ? "after" : "before") + (image.naturalWidth < 300 ? " tiny" : "");
      image.alt = k ? value.words.after : value.words.before;
      find(k ? ".after" : ".before").replaceWith(image);
    });
    find(".stage").style.setProperty("--ratio", images[0].naturalWidth / images[0].naturalHeight);
    find(".left").textContent = value.words.before;
    find(".right").textContent = value.words.after;
    find(".caption").textContent = value.caption;
    find("input").setAttribute("aria-label", value.words.slide);
    find(".compare").hidden = false;
  } catch (error) { /* the picture is gone (a resumed run makes it again): the last one stays */ }
}
find("input").addEventListener("input", move);
for (const kind of ["pointerdown", "pointermove"]) {
  find(".stage").addEventListener(kind, (event) => {
    if (!(event.buttons & 1)) return;
    const box = find(".stage").getBoundingClientRect();
    find("input").value = 100 * (event.clientX - box.left) / box.width;
    move();
  });
}
move();
watch("value", draw);
draw();
