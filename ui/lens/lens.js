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
const PLAY_MILLISECONDS = 700; // a word

let shown = {}; // what the lens shows, kept over values that say only what is new
let maps = null; // a Uint8Array a word: rows × cols, each map's own peak at 255
let selected = 0; // the word that was chosen, which stays
let own = new Set(); // the indices of the words that the visitor chose
let earlier = []; // what was shown before each of the visitor's words
let wanted = {}; // method, layer and head as the visitor chose them, kept for the next caption
let player = null; // the timer while the words are played
let refocus = false; // what had the keyboard's focus was replaced

const captionText = () => shown.words?.map((word) => word.text).join(" ");
const setting = (name) => field(name).value;

function paint(canvas, word) {
  const { peaks } = shown.maps;
  const scale = field("shared").checked ? peaks[word] / Math.max(...peaks, 1e-12) : 1;
  const style = setting("colours"), strength = setting("strength") / 100;
  drawMap(canvas, maps[word], shown.maps, { style, strength, scale });
}

// Choosing a word keeps it; pointing at one only shows it.
function choose(index) {
  selected = index;
  lens.querySelectorAll(".word").forEach((button, i) => {
    button.setAttribute("aria-pressed", i === index);
    button.tabIndex = i === index ? 0 : -1;
  });
  showWord(index);
}

function showWord(index) {
  const word = shown.words[index];
  lens.querySelectorAll(".word").forEach((button, i) => button.classList.toggle("seen", i === index));
  const frames = find(".strip").children;
  [...frames].forEach((frame, i) => frame.setAttribute("aria-pressed", i === index));
  const strip = find(".strip"), frame = frames[index]; // not scrollIntoView, which moves the page too
  strip.scrollLeft = frame.offsetLeft - strip.offsetLeft - (strip.clientWidth - frame.clientWidth) / 2;
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
        earlier.push({ shown, own, isAsked: true });
        own = new Set([...own].filter((i) => i < index).concat(index));
        if (lens.getBoundingClientRect().top < 0) lens.scrollIntoView();
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
    const item = make("li"), button = make("button", "word");
    button.append(make("bdi", "", word.text));
    button.type = "button";
    button.classList.toggle("own", own.has(i));
    button.style.setProperty("--p", `${100 * word.probability}%`);
    const whose = own.has(i) ? ", your word" : "";
    button.setAttribute("aria-label", `${word.text}, ${percent(word.probability)}${whose}`);
    if (shown.state === "writing" && i < before.length && before[i] !== word.text) {
      button.classList.add("revised"); // another hypothesis leads now
    }
    if (shown.state === "done") {
      button.onmouseenter = () => { stopPlaying(); showWord(i); };
      button.onmouseleave = () => showWord(selected);
      button.onfocus = button.onclick = () => { stopPlaying(); choose(i); };
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

// The words stand above for the keyboard and for readers: this is for pointers.
function showStrip() {
  find(".strip").replaceChildren(...shown.words.map((word, i) => {
    const frame = make("button", "frame"), photo = make("div", "photo");
    const image = make("img"), canvas = make("canvas");
    frame.type = "button";
    frame.tabIndex = -1;
    frame.setAttribute("aria-label", `Map of “${word.text}”`);
    image.src = shown.photo;
    image.alt = "";
    canvas.width = canvas.height = 96;
    canvas.setAttribute("aria-hidden", true);
    photo.append(image, canvas);
    frame.append(photo, make("bdi", "", word.text));
    frame.onclick = () => { stopPlaying(); choose(i); };
    paint(canvas, i);
    return frame;
  }));
}

// The other way round: the words that looked at a place of the photo are tinted.
function tintWords(event) {
  if (shown.state !== "done") return;
  const box = find(".stage .photo").getBoundingClientRect();
  const { rows, cols } = shown.maps;
  const row = Math.min(rows - 1, Math.floor(rows * (event.clientY - box.top) / box.height));
  const col = Math.min(cols - 1, Math.floor(cols * (event.clientX - box.left) / box.width));
  lens.querySelectorAll(".word").forEach((button, i) => {
    button.style.setProperty("--looked", maps[i][Math.max(0, row) * cols + Math.max(0, col)] / 255);
  });
}

function clearTint() {
  lens.querySelectorAll(".word").forEach((button) => button.style.removeProperty("--looked"));
}

function stopPlaying() {
  if (player) clearInterval(player);
  player = null;
  field("play").textContent = "Play";
  field("play").setAttribute("aria-pressed", false);
}

function play() {
  let word = 0;
  const goOn = () => {
    if (word === shown.words.length) {
      stopPlaying();
      showWord(selected);
    } else showWord(word++);
  };
  player = setInterval(goOn, PLAY_MILLISECONDS);
  field("play").textContent = "Stop";
  field("play").setAttribute("aria-pressed", true);
  goOn();
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
  const { photoColour } = STYLES[setting("colours")];
  lens.style.setProperty("--photo-colour", photoColour);
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
  stopPlaying();
  refocus ||= !!document.activeElement.closest(".words, .captions, .alternatives")
    && lens.contains(document.activeElement);
  shown = value.state === "empty" ? value : { captions: [], hint: "", ...keep(value), ...value };
  lens.dataset.state = shown.state;
  busy(false);
  if (shown.state === "empty") {
    find(".prompt").textContent = value.prompt;
    find(".words").replaceChildren();
    find(".announcement").textContent = "";
    earlier = [];
    own = new Set();
    return;
  }
  if (value.photo) { // another photo, or the same once more
    find(".stage img").src = shown.photo;
    if (!earlier.at(-1)?.isAsked) {
      earlier = [];
      own = new Set();
    } else delete earlier.at(-1).isAsked;
  }
  showWords();
  if (shown.state === "writing") {
    find(".stage canvas").getContext("2d").clearRect(0, 0, 512, 512);
    find(".hint").textContent = "";
    find(".captions").replaceChildren();
    find(".announcement").textContent = shown.words.length ? "Writing …" : "Reading the photo …";
    return;
  }
  showDone(wasDone ? before : null);
  const { method, layer, head } = shown.settings;
  const isAsWanted = method === (wanted.method ?? method)
    && layer === (wanted.layer ?? null) && head === (wanted.head ?? null);
  if (wanted.method && !isAsWanted && wanted.model === shown.model) ask("explain", wanted);
}

// `before` is the caption that was shown whole before, if there was one.
function showDone(before) {
  maps = decodeMaps(shown.maps);
  find(".hint").textContent = shown.hint;
  find(".doubt").textContent = shown.doubt;
  find(".summary").textContent = shown.summary;
  showSettings();
  showCaptions();
  showStrip();
  field("undo").hidden = !earlier.length;
  const text = captionText();
  choose(text === before ? selected : shown.first_word);
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

fill("colours", Object.entries(STYLES).map(([name, style]) => [name, style.label]), Object.keys(STYLES)[0]);
for (const name of ["method", "layer", "head"]) {
  field(name).onchange = () => {
    if (name === "method") field("layer").value = field("head").value = "";
    const { model, method, layer, head } = mapSettings();
    wanted = { model, method, layer, head };
    ask("explain", {});
  };
}
for (const name of ["colours", "strength", "shared"]) {
  field(name).oninput = () => {
    if (shown.state !== "done") return;
    showSettings();
    showStrip();
    choose(selected);
  };
}
for (const kind of ["png", "json"]) {
  field(kind).onclick = () => {
    const drawing = { shared: field("shared").checked, colours: setting("colours"), strength: setting("strength") / 100 };
    trigger("save", { ...mapSettings(), ...drawing, kind });
  };
}
const makeFrame = (word) =>
  drawFrame(find(".stage img"), shown.words.map((w) => w.text), word, paint, setting("colours"));
field("picture").onclick = async () => download(await encode(makeFrame(selected), "image/png"), "captionlens-picture.png");
field("animation").onclick = async () => {
  const animation = await makeAnimation(shown.words.map((_, word) => makeFrame(word)));
  if (animation) download(animation, "captionlens.webp");
  else find(".announcement").textContent = field("animation").textContent = "This browser makes no WebP";
};
field("play").onclick = () => {
  if (!player) return play();
  stopPlaying();
  showWord(selected);
};
field("undo").onclick = () => {
  if (lens.classList.contains("busy")) return;
  const before = earlier.pop();
  stopPlaying();
  ({ shown, own } = before);
  wanted = {};
  showWords();
  showDone(null);
};
find(".stage .photo").onpointermove = tintWords;
find(".stage .photo").onpointerdown = tintWords;
find(".stage .photo").onpointerleave = clearTint;
find(".stage img").onload = ({ target }) => {
  lens.style.setProperty("--ratio", target.naturalWidth / target.naturalHeight);
};
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
  wanted = {}; // or each caption from here on would ask for it again
  find(".announcement").textContent = "That did not work.";
  if (earlier.at(-1)?.isAsked) ({ own } = earlier.pop());
  if (shown.state === "writing") {
    props.value = { state: "empty", prompt: "That did not work." };
    show();
  } else if (shown.settings) showSettings();
});
watch("value", show);
show();
// The result that the page opens with shows what there is to see.
if (shown.state === "done" && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
