// The pictures of a run that has ended (see run_end.py), and the browser's notification of an end that nobody sees.
let drawn = "", before = null;
async function draw() {
  const { name, made, words = {} } = props.value || {};
  drawTell(words, name);
  const id = `${name}/${made}`;
  if (!name) { element.querySelector(".end-pictures")?.remove(); drawn = ""; return; }
  if (id === drawn) return;
  drawn = id;
  const box = Object.assign(document.createElement("div"), { className: "end-pictures" });
  box.append(...Array.from({ length: props.value.count }, () => document.createElement("span"))); // their places, until they come
  element.querySelector(".end-pictures")?.remove();
  element.prepend(box);
  const images = (await server.pictures({ name })).map((src, k) => Object.assign(new Image(), { src, alt: `${words.alt} ${k + 1}` }));
  if (drawn !== id) return;
  await images[0]?.decode();
  box.classList.toggle("pixelated", images[0]?.naturalWidth <= 96);
  box.replaceChildren(...images);
}
function drawTell(words, name) {
  element.querySelector(".end-tell")?.remove();
  if (name || !words.tell || !window.Notification || Notification.permission !== "default") return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "end-tell", textContent: words.tell });
  button.addEventListener("click", async () => { await Notification.requestPermission(); drawTell(words, name); });
  element.append(button);
}
addEventListener("live", () => setTimeout(() => {
  const run = document.querySelector("#status [data-run]")?.dataset.run, state = document.querySelector("#status .state");
  const now = run && { run, ended: state.classList.contains("finished") };
  if (now?.ended && before?.run === run && !before.ended && document.hidden && window.Notification?.permission === "granted") {
    const message = new Notification(props.value?.words?.ready || run, { body: run, icon: "first_view/still.webp" });
    message.onclick = () => { window.focus(); message.close(); };
  }
  before = now;
}, 100));
watch("value", draw);
draw();
