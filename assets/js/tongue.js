// The label of this element is the language that Gradio's labels are in now: where it changes, the settings were used.
function hear() {
  if (props.label === window.studioLanguage || !window.speakLanguage) return;
  window.speakLanguage(props.label);
  trigger("click");
}
watch("label", hear);
hear();
