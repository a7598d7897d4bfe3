// Map settings: which maps are shown, and how they are drawn.
function fill(name, options, value) {
  field(name).replaceChildren(...options.map(([key, text]) => {
    const option = make("option", "", text);
    option.value = key;
    return option;
  }));
  field(name).value = value;
}

function showSettings() {
  const { methods, method, layers, layer, heads, head } = shown.settings;
  const counted = (n) => [["", "all"], ...Array.from({ length: n }, (_, i) => [String(i), i])];
  fill("method", Object.keys(methods).map((name) => [name, name]), method);
  fill("layer", counted(layers), layer ?? "");
  fill("head", counted(heads), head ?? "");
  field("layer").disabled = field("head").disabled = field("heads").disabled = !layers;
  const { photoColour } = STYLES[setting("colours")];
  lens.style.setProperty("--photo-colour", photoColour);
  find(".method-text").textContent = methods[method];
}

const number = (text) => (text === "" ? null : Number(text));
const mapSettings = () => ({
  text: captionText(),
  model: shown.model,
  prompt: shown.prompt,
  memory: shown.memory?.name,
  method: setting("method"),
  layer: number(setting("layer")),
  head: number(setting("head")),
});

// Asks for the maps that are chosen now, and from then on for each photo's.
function askForMaps() {
  const { model, method, layer, head } = mapSettings();
  wanted = { model, method, layer, head };
  ask("explain", {});
}

fill("colours", Object.entries(STYLES).map(([name, style]) => [name, style.label]), Object.keys(STYLES)[0]);
for (const name of ["method", "layer", "head"]) {
  field(name).onchange = () => {
    if (name === "method") field("layer").value = field("head").value = "";
    askForMaps();
  };
}
for (const name of ["colours", "strength", "shared"]) {
  field(name).oninput = () => {
    if (shown.state !== "done") return;
    showSettings();
    showStrip();
    showChosen();
  };
}
