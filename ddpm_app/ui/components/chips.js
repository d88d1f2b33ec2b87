// Texts to choose by a click (see chips.py).
function draw() {
  const { texts = [], label = "" } = props.value || {};
  const box = Object.assign(document.createElement("div"), { className: "chips" });
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", label);
  box.append(...texts.map((text) => {
    const chip = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    chip.addEventListener("click", () => trigger("click", { text }));
    return chip;
  }));
  element.replaceChildren(box);
}
watch("value", draw);
draw();
