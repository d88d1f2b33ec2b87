// The page's language: what the link asks for (?lang=zh), else what was chosen in the settings before, else the browser's, else
// English. Stands at the top of the page (see ddpm_app/ui/language.py): Gradio asks navigator.language, once, when it starts.
(() => {
  const codes = LANGUAGES; // from our names to Gradio's
  const known = (tag) => Object.keys(codes).find((name) => (tag || "").toLowerCase().split("-")[0] === name);
  let kept = null;
  try { kept = localStorage.getItem("ddpm-studio-language"); } catch (error) { /* a browser that keeps nothing */ }
  const asked = [new URLSearchParams(location.search).get("lang"), kept, ...navigator.languages];
  const put = (name) => {
    window.studioLanguage = name;
    document.documentElement.lang = codes[name];
  };
  put(asked.map(known).find(Boolean) || "en");
  Object.defineProperty(navigator, "language", { value: codes[window.studioLanguage], configurable: true });
  // Chosen in the settings: from now on this browser's language, and no longer the link's.
  window.speakLanguage = (name) => {
    put(name);
    try { localStorage.setItem("ddpm-studio-language", name); } catch (error) { /* as above */ }
    const here = new URL(location);
    here.searchParams.delete("lang");
    history.replaceState(history.state, "", here);
  };
})();
