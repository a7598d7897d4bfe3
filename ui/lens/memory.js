// The memory: captions of similar remembered photos, and how much a word looked at each of theirs.
function showMemory() {
  const { memory } = shown;
  find(".memory").hidden = !memory;
  find(".memory ul").replaceChildren(...(memory?.captions ?? []).map(({ photo, words }) => {
    const item = make("li"), text = make("span");
    text.dir = "auto";
    text.append(...words.flatMap((word, i) => (i ? [" ", make("bdi", "", word)] : [make("bdi", "", word)])));
    item.append(text, make("small", "", photo));
    return item;
  }));
}

// Tints the remembered words that a word looked at, and names the strongest.
function showRemembered(index) {
  const { memory } = shown;
  find(".from-memory").hidden = !memory;
  if (!memory) return;
  const weights = memory.weights[index].flat(), strongest = Math.max(...weights, 1e-12);
  const words = [...lens.querySelectorAll(".memory bdi")];
  words.forEach((word, i) => word.style.setProperty("--looked", weights[i] / strongest));
  find(".from-memory").replaceChildren(
    `${percent(memory.shares[index])} fell on remembered captions: most on `,
    ...nameStrongest(words.map((word, i) => [weights[i], word.textContent])),
    ".",
  );
}
