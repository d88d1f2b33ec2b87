// The page's language: what the link asks for (?lang=zh), else what was chosen in the settings before, else the browser's, else
// English. Stands at the top of the page (see language.py): Gradio asks navigator.language, once, when it starts.
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
})();
