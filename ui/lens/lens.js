// The lens: a caption's words, and where each of them looked. All maps come with the caption, so
// choosing a word asks nobody. Whatever a tokenizer or a visitor wrote goes in as text, never as
// markup. Runs once per lens, with `element`, `props`, `watch` and `trigger` from gradio.
const lens = element.querySelector(".lens");
const find = (selector) => lens.querySelector(selector);
const field = (name) => find(`[name=${name}]`);
const make = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};
const percent = (p) => (p >= 0.005 ? `${Math.round(100 * p)}%` : "<1%");
const SHADE = [10, 12, 16];
// Inferno's corners: brighter means more in grey print and for every kind of colour vision.
const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

let shown = {}; // what the lens shows, kept over values that say only what is new
let maps = null; // Float32Array: words × rows × cols, each map's own peak at 1
let selected = 0;
let refocus = false; // what had the keyboard's focus was replaced

const captionText = () => shown.words?.map((word) => word.text).join(" ");
const setting = (name) => field(name).value;

function decodeMaps(encoded) {
  const bytes = Uint8Array.from(atob(encoded.data), (c) => c.charCodeAt(0));
  return Float32Array.from(bytes, (b) => b / 255);
}

function paint(canvas, word) {
  const { rows, cols, peaks } = shown.maps;
  const top = field("shared").checked ? peaks[word] / Math.max(...peaks, 1e-12) : 1;
  const strength = setting("strength") / 100;
  const small = document.createElement("canvas");
  small.width = cols;
  small.height = rows;
  const pixels = new ImageData(cols, rows);
  for (let i = 0; i < rows * cols; i++) {
    // the square root keeps what got a quarter of the peak half visible
    const light = Math.sqrt(maps[word * rows * cols + i] * top);
    if (setting("colours") === "heat") {
      const at = Math.min(light * (HEAT.length - 1), HEAT.length - 1.001), k = Math.floor(at);
      const mixed = HEAT[k].map((c, j) => c + (at - k) * (HEAT[k + 1][j] - c));
      pixels.data.set([...mixed, 255 * strength * (0.6 + 0.3 * light)], 4 * i);
    } else {
      pixels.data.set([...SHADE, 255 * strength * (1 - light)], 4 * i);
    }
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function choose(index) {
  selected = index;
  const word = shown.words[index];
  lens.querySelectorAll(".word").forEach((button, i) => {
    button.setAttribute("aria-pressed", i === index);
    button.tabIndex = i === index ? 0 : -1;
  });
  if (shown.state !== "done") return;
  paint(find(".stage canvas"), index);
  find("h3").textContent = `“${word.text}” ${percent(word.probability)}`;
  find(".fact").textContent = word.fact;
  find(".alternatives").hidden = !word.alternatives.length;
  find(".alternatives ul").replaceChildren(...word.alternatives.map((other) => {
    const row = make("li"), bar = make("i");
    const text = other.text || "(the caption ends)";
    if (shown.continues && other.text) {
      const button = make("button", "", text);
      button.type = "button";
      button.title = "Continue the caption from this word";
      button.onclick = () => {
        const before = shown.words.slice(0, index).map((w) => w.text);
        ask("go_on", { prefix: [...before, other.text].join(" ") });
      };
      row.append(button);
    } else {
      row.append(make("span", "", text));
    }
    bar.style.setProperty("--p", `${100 * other.probability}%`);
    row.append(bar, make("span", "", percent(other.probability)));
    return row;
  }));
}

function showWords() {
  const list = find(".words");
  const before = [...list.children].map((item) => item.textContent);
  list.replaceChildren(...shown.words.map((word, i) => {
    const item = make("li"), button = make("button", "word", word.text);
    button.type = "button";
    button.style.setProperty("--p", `${100 * word.probability}%`);
    button.setAttribute("aria-label", `${word.text}, ${percent(word.probability)}`);
    if (shown.state === "writing" && i < before.length && before[i] !== word.text) {
      button.classList.add("revised"); // another hypothesis leads now
    }
    if (shown.state === "done") {
      button.onmouseenter = button.onfocus = button.onclick = () => choose(i);
      button.onkeydown = (event) => {
        const last = shown.words.length - 1;
        const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: last }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        list.children[Math.max(0, Math.min(last, to))].firstChild.focus();
      };
    }
    item.append(button);
    return item;
  }));
}

function showSheet() {
  find(".sheet").replaceChildren(...shown.words.map((word, i) => {
    const figure = make("figure"), photo = make("div", "photo");
    const image = make("img"), canvas = make("canvas");
    image.src = shown.photo;
    image.alt = `Map of “${word.text}”`;
    canvas.width = canvas.height = 96;
    canvas.setAttribute("aria-hidden", true);
    photo.append(image, canvas);
    figure.append(photo, make("figcaption", "", `${word.text} ${percent(word.probability)}`));
    paint(canvas, i);
    return figure;
  }));
}

function showCaptions() {
  const list = shown.captions?.length > 1 ? shown.captions : [];
  const text = captionText();
  find(".captions").replaceChildren(...list.map((caption) => {
    const button = make("button");
    button.type = "button";
    button.setAttribute("aria-pressed", caption.text === text);
    button.append(make("b", "", caption.text), make("span", "", caption.likelihood));
    button.onclick = () => caption.text === text || ask("explain", { text: caption.text });
    return button;
  }));
}

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
  field("layer").disabled = field("head").disabled = !layers;
  find(".method-text").textContent = methods[method];
}

const number = (text) => (text === "" ? null : Number(text));
const mapSettings = () => ({
  text: captionText(),
  model: shown.model,
  method: setting("method"),
  layer: number(setting("layer")),
  head: number(setting("head")),
});

function busy(on) {
  lens.classList.toggle("busy", on);
  lens.setAttribute("aria-busy", on);
}

function ask(event, more) {
  busy(true);
  find(".announcement").textContent = "Working …";
  trigger(event, { ...mapSettings(), ...more });
}

function show() {
  const value = props.value ?? {};
  if (!value.state) return;
  const wasDone = shown.state === "done";
  const before = captionText();
  refocus ||= !!document.activeElement.closest(".words, .captions, .alternatives")
    && lens.contains(document.activeElement);
  shown = value.state === "empty" ? value : { captions: [], hint: "", ...keep(value), ...value };
  lens.dataset.state = shown.state;
  busy(false);
  if (shown.state === "empty") {
    find(".prompt").textContent = value.prompt;
    find(".words").replaceChildren();
    find(".announcement").textContent = "";
    return;
  }
  if (shown.photo) find(".stage img").src = shown.photo;
  showWords();
  if (shown.state === "writing") {
    find(".stage canvas").getContext("2d").clearRect(0, 0, 256, 256);
    find(".hint").textContent = "";
    find(".captions").replaceChildren();
    return;
  }
  maps = decodeMaps(shown.maps);
  find(".hint").textContent = shown.hint;
  find(".doubt").textContent = shown.doubt;
  find(".summary").textContent = shown.summary;
  showSettings();
  showCaptions();
  showSheet();
  const text = captionText();
  choose(text === before && wasDone ? selected : shown.first_word);
  if (refocus && !lens.contains(document.activeElement)) {
    find(".words").children[selected].firstChild.focus();
  }
  refocus = false;
  find(".announcement").textContent = `Caption: ${text}`;
}

// The photo is sent when it is new; a list of captions and a hint belong to it.
function keep(value) {
  if (value.state === "writing") return { photo: shown.photo };
  return { photo: shown.photo, captions: shown.captions, hint: shown.hint };
}

for (const name of ["method", "layer", "head"]) {
  field(name).onchange = () => {
    if (name === "method") field("layer").value = field("head").value = "";
    ask("explain", {});
  };
}
for (const name of ["colours", "strength", "shared"]) {
  field(name).oninput = () => {
    choose(selected);
    if (maps) lens.querySelectorAll(".sheet canvas").forEach(paint);
  };
}
for (const kind of ["png", "json"]) {
  field(kind).onclick = () => trigger("save", { ...mapSettings(), kind, shared: field("shared").checked });
}
field("copy").onclick = async () => {
  let message = "Copied";
  try {
    await navigator.clipboard.writeText(captionText());
  } catch {
    message = "Not allowed here"; // by the browser: only https pages may
  }
  find(".announcement").textContent = field("copy").textContent = message;
  setTimeout(() => { field("copy").textContent = "Copy as alt text"; }, 1500);
};
// A request that failed leaves no new value behind: the page says so instead.
element.addEventListener("lens:failed", () => {
  busy(false);
  find(".announcement").textContent = "That did not work.";
  if (shown.state === "writing") {
    props.value = { state: "empty", prompt: "That did not work." };
    show();
  } else if (shown.settings) showSettings();
});
watch("value", show);
show();
