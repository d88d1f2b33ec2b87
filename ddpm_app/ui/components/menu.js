// The menu (see menu.py). A language is Gradio's from its start on, so that another one opens the page anew, at the same tab.
const LANGUAGES = { en: "English", zh: "中文" }, THEMES = ["light", "dark", "system"];
element.innerHTML = `<details class="menu"><summary><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 7h16M4 12h16M4 17h16" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></svg></summary>
  <div class="menu-sheet"></div></details>`;
const menu = element.querySelector("details"), sheet = element.querySelector(".menu-sheet");

function group(title, choices, chosen, choose) {
  const box = document.createElement("div");
  box.className = "menu-group";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", title);
  box.append(Object.assign(document.createElement("span"), { textContent: title }), ...choices.map(([value, text, lang]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, lang: lang || "" });
    button.setAttribute("aria-pressed", String(value === chosen));
    button.addEventListener("click", () => choose(value));
    return button;
  }));
  return box;
}
function speak(lang) {
  window.speakLanguage(lang);
  const tab = [...document.querySelectorAll("#tabs [role=tab]")].find((button) => button.getAttribute("aria-selected") === "true");
  const address = new URL(location);
  for (const name of ["station", "lesson", "preset"]) address.searchParams.delete(name);
  const name = tab?.getAttribute("aria-controls")?.replace("tab-", "");
  if (name) address.searchParams.set("tab", name);
  location.assign(address);
}
function draw() {
  const words = props.value?.words;
  if (!words) return;
  menu.querySelector("summary").setAttribute("aria-label", words.menu);
  sheet.replaceChildren(
    group(words.language, Object.entries(LANGUAGES).map(([lang, name]) => [lang, name, lang]), window.studioLanguage, speak),
    group(words.theme, THEMES.map((theme) => [theme, words[theme]]), window.studioTheme(), (theme) => { window.chooseTheme(theme); draw(); }),
    group(words.presenting, [["on", words.on], ["off", words.off]], document.body.classList.contains("larger") ? "on" : "off", (value) => {
      document.body.classList.toggle("larger", value === "on");
      menu.open = false;
      draw();
    }),
  );
}
document.addEventListener("click", (event) => { if (!element.contains(event.target)) menu.open = false; });
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && menu.open) { menu.open = false; menu.querySelector("summary").focus(); } });
menu.addEventListener("toggle", draw);
watch("value", draw);
draw();
