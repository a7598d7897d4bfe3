// The words: each shows its map, those of the caption and those of the filmstrip.
function paint(canvas, word) {
  const { peaks } = shown.maps;
  const scale = field("shared").checked ? peaks[word] / Math.max(...peaks, 1e-12) : 1;
  const style = setting("colours"), strength = setting("strength") / 100;
  drawMap(canvas, maps[word], shown.maps, { style, strength, scale });
}

// Choosing a word keeps it; pointing at one only shows it.
function choose(index) {
  selected = index;
  target = null;
  lens.querySelectorAll(".word").forEach((button, i) => {
    button.setAttribute("aria-pressed", i === index);
    button.tabIndex = i === index ? 0 : -1;
  });
  markTarget();
  showWord(index);
}

function showWord(index) {
  const word = shown.words[index];
  clearTint();
  lens.querySelectorAll(".word").forEach((button, i) => button.classList.toggle("seen", i === index));
  const frames = find(".strip").children;
  [...frames].forEach((frame, i) => frame.setAttribute("aria-pressed", i === index));
  const strip = find(".strip"), frame = frames[index]; // not scrollIntoView, which moves the page too
  strip.scrollLeft = frame.offsetLeft - strip.offsetLeft - (strip.clientWidth - frame.clientWidth) / 2;
  paint(find(".stage canvas"), index);
  find("h3").replaceChildren(make("bdi", "", `“${word.text}”`), ` ${percent(word.probability)}`);
  find(".fact").textContent = word.fact;
  showRemembered(index);
  showEarlier(index);
  showHeads(index);
  lightTargets(index);
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
        undoable.push({ shown, own, isAsked: true });
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

// A bar over each earlier word that the word looked at, and the strongest in words.
function showEarlier(index) {
  const shares = shown.words[index].earlier, strongest = Math.max(...shares);
  lens.querySelectorAll(".word").forEach((button, i) => {
    button.style.setProperty("--earlier", i < shares.length ? shares[i] / strongest : 0);
  });
  find(".earlier").hidden = !shares.length;
  find(".earlier span").replaceChildren(...nameStrongest(shares.map((share, i) => [share, shown.words[i].text])));
}

function showWords() {
  const list = find(".words");
  const before = [...list.children].map((item) => item.textContent);
  list.replaceChildren(...shown.words.map((word, i) => {
    const item = make("li"), button = make("button", "word");
    button.append(make("span", "", word.text)); // not bdi, which the sentence's direction leaves out
    button.type = "button";
    button.classList.toggle("own", own.has(i));
    button.style.setProperty("--p", `${100 * word.probability}%`);
    const whose = own.has(i) ? ", your word" : "";
    button.setAttribute("aria-label", `${word.text}, ${percent(word.probability)}${whose}`);
    if (shown.state === "writing" && i < before.length && before[i] !== word.text) {
      button.classList.add("revised"); // another hypothesis leads now
    }
    if (shown.state === "done") {
      listenToWord(button, i, showWord, choose);
    }
    item.append(button);
    return item;
  }));
}

// Has a word's button show it while it is pointed at, and choose it by click, touch and keyboard.
function listenToWord(button, i, showIt, chooseIt) {
  button.onmouseenter = () => { stopPlaying(); showIt(i); };
  button.onmouseleave = showChosen;
  button.onfocus = button.onclick = () => { stopPlaying(); chooseIt(i); };
  button.onkeydown = (event) => {
    const { children } = button.closest("ul"), last = children.length - 1;
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    children[Math.max(0, Math.min(last, to))].firstChild.focus();
  };
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

// The three strongest of [share, text], named with their shares.
function nameStrongest(pairs) {
  return pairs.sort((a, b) => b[0] - a[0]).slice(0, 3).flatMap(([share, text], i) =>
    [i ? ", " : "", make("bdi", "", `“${text}”`), ` ${percent(share)}`]);
}

function clearTint() {
  lens.querySelectorAll(".word").forEach((button) => button.style.removeProperty("--looked"));
}

