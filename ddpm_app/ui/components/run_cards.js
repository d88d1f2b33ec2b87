// The list of runs as cards (see run_cards.py). A click tells the server which; thumbnails are fetched once each.
const thumbs = new Map();
const make = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text || "" });

async function thumb(card, box) {
  const id = `${card.name}/${card.made}/${card.sample}`;
  if (!thumbs.has(id)) thumbs.set(id, server.thumbnail({ name: card.name, key: String(card.sample) }));
  try {
    const image = new Image();
    image.src = await thumbs.get(id);
    image.alt = props.value.alt.replace("{}", () => card.name);
    await image.decode();
    box.replaceChildren(image);
  } catch (error) { thumbs.delete(id); }
}
function fill(button, { ...card }) {
  const latest = window.liveParts?.["runs-latest"]; // the run at work
  if (latest?.name === card.name) card.sample = latest.sample;
  const text = make("span", "text");
  text.append(make("b", "name", card.name), make("span", `state ${card.state}`, card.stateLabel), ...card.lines.map((line) => make("small", "", line)));
  button.lastElementChild.replaceWith(text);
  button.setAttribute("aria-pressed", String(card.name === props.value.chosen));
  const id = `${card.made}/${card.sample}`;
  if (card.sample !== null && button.dataset.shown !== id) thumb(card, button.firstElementChild).then(() => { button.dataset.shown = id; });
}
function draw() {
  const value = props.value;
  if (!value || !value.cards) return;
  const old = new Map([...element.querySelectorAll(".run-card")].map((b) => [b.dataset.name, b]));
  const buttons = value.cards.map((card) => {
    const button = old.get(card.name) || Object.assign(document.createElement("button"), { type: "button", className: "run-card" });
    if (!button.dataset.name) {
      button.dataset.name = card.name;
      button.append(make("span", "thumb"), make("span", "text"));
      button.addEventListener("click", () => {
        for (const other of element.querySelectorAll(".run-card")) other.setAttribute("aria-pressed", String(other === button));
        trigger("click", { name: card.name });
      });
    }
    fill(button, card);
    return button;
  });
  if (buttons.length !== element.children.length || buttons.some((b, k) => b !== element.children[k])) element.replaceChildren(...buttons);
}
watch("value", draw);
addEventListener("live", (event) => { if (event.detail && "runs-latest" in event.detail) draw(); });
draw();
