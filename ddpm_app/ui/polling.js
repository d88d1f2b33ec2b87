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
