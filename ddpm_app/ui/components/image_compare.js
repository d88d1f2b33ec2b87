// Originals under a slider, their reconstructions beside it (see ddpm_app/ui/train.py). Runs as the js_on_load of a gr.HTML: the value
// names a run and a step, server.picture gives both sheets when they are first shown.
let shown = "", wanted = 0;
const one = (selector) => element.querySelector(selector);

element.innerHTML = `<div class="compare" hidden><div class="stage"><img class="before"><img class="after"><i></i><b class="left"></b><b class="right"></b></div>
  <input type="range" min="0" max="100" value="50" step="0.5"><div class="caption"></div></div>`;

function move() {
  one(".stage").style.setProperty("--at", `${one("input").value}%`);
}
async function loaded(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}
async function draw() {
  const value = props.value;
  if (!value) { one(".compare").hidden = true; shown = ""; return; }
  const id = `${value.name}/${value.made}/${value.step}`;
  if (id === shown) return;
  const turn = ++wanted;
  try {
    const pair = await server.picture({ name: value.name, key: String(value.step) });
    const images = await Promise.all([loaded(pair.before), loaded(pair.after)]);
    if (turn !== wanted || !props.value) return;
    shown = id;
    images.forEach((image, k) => {
      image.className = (k ? "after" : "before") + (image.naturalWidth < 300 ? " tiny" : "");
      image.alt = k ? value.words.after : value.words.before;
      one(k ? ".after" : ".before").replaceWith(image);
    });
    one(".stage").style.setProperty("--ratio", images[0].naturalWidth / images[0].naturalHeight);
    one(".left").textContent = value.words.before;
    one(".right").textContent = value.words.after;
    one(".caption").textContent = value.caption;
    one("input").setAttribute("aria-label", value.words.slide);
    one(".compare").hidden = false;
  } catch (error) { /* the picture is gone (a resumed run makes it again): the last one stays */ }
}
one("input").addEventListener("input", move);
for (const kind of ["pointerdown", "pointermove"]) {
  one(".stage").addEventListener(kind, (event) => {
    if (!(event.buttons & 1)) return;
    const box = one(".stage").getBoundingClientRect();
    one("input").value = 100 * (event.clientX - box.left) / box.width;
    move();
  });
}
move();
watch("value", draw);
draw();
