// The page's language: what the link asks for (?lang=zh), else what was chosen in the menu before, else the browser's, else
// English; and its theme. Stands at the top of the page (see language.py): Gradio asks navigator.language, once, when it starts.
(() => {
  const codes = LANGUAGES; // from our names to Gradio's
  const nameOf = (tag) => Object.keys(codes).find((name) => (tag || "").toLowerCase().split("-")[0] === name);
  let stored = null;
  try { stored = localStorage.getItem("ddpm-studio-language"); } catch (error) { /* a browser that keeps nothing */ }
  const tags = [new URLSearchParams(location.search).get("lang"), stored, ...navigator.languages];
  const speak = (name) => {
    window.studioLanguage = name;
    document.documentElement.lang = codes[name];
  };
  speak(tags.map(nameOf).find(Boolean) || "en");
  Object.defineProperty(navigator, "language", { value: codes[window.studioLanguage], configurable: true });
  // Chosen in the settings: from now on this browser's language, and no longer the link's.
  window.speakLanguage = (name) => {
    speak(name);
    try { localStorage.setItem("ddpm-studio-language", name); } catch (error) { /* as above */ }
    const address = new URL(location);
    address.searchParams.delete("lang");
    history.replaceState(history.state, "", address);
  };

  // The theme: what was chosen in the menu, else the system's. Gradio asks the system, once, when it starts.
  const dark = matchMedia("(prefers-color-scheme: dark)"), system = window.matchMedia.bind(window);
  const storedTheme = () => { try { return localStorage.getItem("ddpm-studio-theme"); } catch (error) { return null; } };
  window.studioTheme = () => storedTheme() || "system";
  window.matchMedia = (query) => {
    const theme = storedTheme();
    if (!/prefers-color-scheme/.test(query) || !theme) return system(query);
    return system(/dark/.test(query) === (theme === "dark") ? "all" : "not all");
  };
  window.chooseTheme = (theme) => {
    try { if (theme === "system") localStorage.removeItem("ddpm-studio-theme"); else localStorage.setItem("ddpm-studio-theme", theme); } catch (error) { /* as above */ }
    document.body.classList.toggle("dark", theme === "system" ? dark.matches : theme === "dark");
  };
})();
