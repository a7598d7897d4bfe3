// The lens: a caption's words, and where each of them looked. All maps come with the caption, so
// choosing a word asks nobody.
function show() {
  const value = props.value ?? {};
  if (!value.state) return;
  const wasDone = shown.state === "done";
  const before = captionText();
  stopPlaying();
  refocus ||= !!document.activeElement.closest(".words, .targets, .captions, .alternatives")
    && lens.contains(document.activeElement);
  shown = value.state === "empty" ? value : { captions: [], hint: "", ...keep(value), ...value };
  if (shown.language in LANGUAGES) language = shown.language; // that of before a reload
  lens.dataset.state = shown.state;
  busy(false);
  if (shown.state === "empty") {
    find(".prompt").textContent = value.prompt;
    find(".words").replaceChildren();
    find(".announcement").textContent = "";
    undoable = [];
    own = new Set();
    return;
  }
  if (value.photo) { // another photo, or the same once more
    find(".stage img").src = shown.photo;
    heads = null;
    if (!undoable.at(-1)?.isAsked) {
      undoable = [];
      own = new Set();
    } else delete undoable.at(-1).isAsked;
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
  else openHeads();
}

// `before` is the caption that was shown whole before, if there was one.
function showDone(before) {
  maps = decodeMaps(shown.maps);
  find(".hint").textContent = shown.hint;
  find(".doubt").textContent = shown.doubt;
  find(".summary").textContent = shown.summary;
  find(".about-maps").textContent = shown.about_maps ?? "";
  showSettings();
  showMemory();
  showCaptions();
  showStrip();
  showTranslation();
  field("undo").hidden = !undoable.length;
  const text = captionText();
  choose(text === before ? selected : shown.first_word);
  if (refocus && !lens.contains(document.activeElement)) {
    find(".words").children[selected].firstChild.focus();
  }
  refocus = false;
  find(".announcement").textContent = `Caption: ${text}`;
  tellDone();
}

// What the lens shows is whole: the page keeps it over a reload.
function tellDone() {
  element.dispatchEvent(new CustomEvent("lens:done", { bubbles: true, detail: shown }));
}

// The photo is sent when it is new; a list of captions and a hint belong to it. Other maps leave the
// translation as it is.
function keep(value) {
  if (value.state === "writing") return { photo: shown.photo };
  const { photo, captions, hint, translation } = shown;
  return { photo, captions, hint, translation };
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

const makeFrame = (word) => drawWords(shown.words, word, paint);
const drawWords = (words, word, paintMap) =>
  drawFrame(find(".stage img"), words.map((w) => w.text), word, paintMap, setting("colours"));
field("picture").onclick = async () => {
  const frame = target === null ? makeFrame(selected) : drawWords(shown.translation.words, target, paintTarget);
  download(await encode(frame, "image/png"), "captionlens-picture.png");
};
field("animation").onclick = async () => {
  const animation = await makeAnimation(shown.words.map((_, word) => makeFrame(word)));
  if (animation) download(animation, "captionlens.webp");
  else find(".unsaved").textContent = "This browser writes no animations (WebP). Save picture saves the chosen word's.";
};
field("undo").onclick = () => {
  if (lens.classList.contains("busy")) return;
  const before = undoable.pop();
  stopPlaying();
  ({ shown, own } = before);
  wanted = {};
  showWords();
  showDone(null);
  openHeads();
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
    await navigator.clipboard.writeText(translationText() || captionText());
  } catch {
    message = "Not allowed here"; // by the browser: only https pages may
  }
  find(".announcement").textContent = field("copy").textContent = message;
  setTimeout(() => { field("copy").textContent = "Copy as alt text"; }, 1500);
};
watch("value", show);
show();
// The result that the page opens with shows what there is to see.
if (shown.state === "done" && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
