// What the page's poll brings (see polling.py): values by the elem_id of the gr.HTML that shows them, kept for tabs that are opened
// later. A new "stale" asks the server, by a click, for the parts that are components of their own.
function take() {
  const { news, stale, loaded } = props.value || {};
  window.liveParts = Object.assign(window.liveParts || {}, news);
  if (news && "can" in news) document.body.dataset.can = news.can;
  dispatchEvent(new CustomEvent("live", { detail: news }));
  if (loaded) dispatchEvent(new Event("loaded"));
  if (stale) trigger("click");
}
watch("value", take);
take();

// A poll (see ASK in polling.py). While its answer is on the way no other is sent. Where the server is out of reach, a click lets Gradio find
// that out: it says so and waits for it.
let polling = false;
window.poll = async (values) => {
  if (polling) return [];
  polling = true;
  try { return await server.poll(values); }
  catch (error) { trigger("click"); return []; }
  finally { polling = false; }
};
