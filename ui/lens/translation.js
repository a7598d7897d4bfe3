// The caption in another language. A word of it lights the caption's words that it looked at and,
// through them, the photo.
let language = ""; // the code of the one that is chosen; empty: none
let target = null; // the word of the translation that was chosen, which stays

const isTranslated = () => shown.translation?.language === language && shown.translation.source === captionText();

// Shows the translation into the chosen language; asks for it where it is not there yet.
function showTranslation() {
  target = null;
  shown.language = field("language").value = language;
  find(".translation").hidden = !language;
  find(".targets").replaceChildren();
  find(".translation .note").textContent = "";
  if (!language) return;
  if (!isTranslated()) {
    find(".translation .note").textContent = "Translating …";
    trigger("translate", { text: captionText(), language });
    return;
  }
  const { words, note } = shown.translation, list = find(".targets");
  list.lang = language;
  list.setAttribute("aria-label", `Caption in ${LANGUAGES[language]}, word by word`);
  list.replaceChildren(...words.map((word, i) => {
    const item = make("li"), button = make("button", "target");
    button.append(make("span", "", word.text));
    button.type = "button";
    button.tabIndex = i ? -1 : 0;
    button.style.setProperty("--p", `${100 * word.probability}%`);
    button.setAttribute("aria-label", `${word.text}, ${percent(word.probability)}`);
    listenToWord(button, i, showTarget, chooseTarget);
    item.append(button);
    return item;
  }));
  find(".translation .note").textContent = note;
}

const targetButtons = () => lens.querySelectorAll(".target");

function chooseTarget(index) {
  target = index;
  lens.querySelectorAll(".word").forEach((button) => button.setAttribute("aria-pressed", false));
  markTarget();
  showTarget(index);
}

function markTarget() {
  targetButtons().forEach((button, i) => {
    button.setAttribute("aria-pressed", i === target);
    button.tabIndex = i === (target ?? 0) ? 0 : -1;
  });
}

// The caption's maps, mixed in these shares: a map with its own peak at 255, and that peak.
function mixMaps(shares) {
  const { peaks } = shown.maps, mixed = new Float64Array(maps[0].length);
  maps.forEach((map, word) => map.forEach((height, i) => {
    mixed[i] += shares[word] * peaks[word] * height / 255;
  }));
  const peak = Math.max(...mixed, 1e-12);
  return { peak, map: Uint8Array.from(mixed, (height) => Math.round(255 * height / peak)) };
}

function paintTarget(canvas, index) {
  const { peak, map } = mixMaps(shown.translation.alignment[index]);
  const scale = field("shared").checked ? peak / Math.max(...shown.maps.peaks, 1e-12) : 1;
  const style = setting("colours"), strength = setting("strength") / 100;
  drawMap(canvas, map, shown.maps, { style, strength, scale });
}

function showTarget(index) {
  const word = shown.translation.words[index], shares = shown.translation.alignment[index];
  const strongest = Math.max(...shares, 1e-12);
  targetButtons().forEach((button, i) => {
    button.classList.toggle("seen", i === index);
    button.style.removeProperty("--looked");
  });
  lens.querySelectorAll(".word").forEach((button, i) => {
    button.classList.remove("seen");
    button.style.setProperty("--earlier", 0);
    button.style.setProperty("--looked", shares[i] / strongest);
  });
  [...find(".strip").children].forEach((frame) => frame.setAttribute("aria-pressed", false));
  paintTarget(find(".stage canvas"), index);
  find("h3").replaceChildren(make("bdi", "", `“${word.text}”`), ` ${percent(word.probability)}`);
  find(".fact").replaceChildren("Through the English caption: it looked at ", ...nameStrongest(
    shares.map((share, i) => [share, shown.words[i].text])),
    ". The map is the sum of the English words' maps in these shares.");
  for (const name of [".earlier", ".from-memory", ".alternatives"]) find(name).hidden = true;
}

// The other way round: the words of the translation that looked at a word of the caption.
function lightTargets(index) {
  const shares = isTranslated() ? shown.translation.alignment.map((row) => row[index]) : [];
  const strongest = Math.max(...shares, 1e-12);
  targetButtons().forEach((button, i) => {
    button.classList.remove("seen");
    button.style.setProperty("--looked", shares[i] / strongest);
  });
}

function showChosen() {
  if (target === null) showWord(selected);
  else showTarget(target);
}

fill("language", [["", "no other"], ...Object.entries(LANGUAGES)], "");
find(".language").hidden = !Object.keys(LANGUAGES).length;
field("language").onchange = () => {
  language = setting("language");
  if (shown.state !== "done") return;
  const wasTarget = target !== null;
  showTranslation();
  if (wasTarget) choose(selected);
  else showWord(selected);
  tellDone();
};
element.addEventListener("lens:translated", ({ detail }) => {
  const isWanted = shown.state === "done" && detail.language === language && detail.source === captionText();
  if (!isWanted) return; // of a caption before
  shown.translation = detail;
  showTranslation();
  showChosen();
  find(".announcement").textContent = `In ${LANGUAGES[language]}: ${translationText() || detail.note}`;
  tellDone();
});
element.addEventListener("lens:untranslated", () => {
  if (!isTranslated()) find(".translation .note").textContent = "Not translated. Choose “no other” and then the language again.";
});
const translationText = () => (language && isTranslated() ? shown.translation.words.map((w) => w.text).join(" ") : "");
