// Every head's own map of the chosen word, layer by layer; a click shows that head alone, large.
const HEAD_SIDE = 96; // pixels of a head's map

let heads = null; // { layers, heads, rows, cols, key, maps: words × layers × heads of them }
let isOpen = false;

// What heads' maps are of, whichever layer and head is shown large.
const headsQuestion = () => ({ ...mapSettings(), method: shown.settings.method, layer: null, head: null });
const headsKey = () => JSON.stringify(headsQuestion());

// Opens the grid for the caption that is shown; asks for its maps where they are not there yet.
function openHeads() {
  const hasLayers = shown.settings.layers > 0;
  field("heads").setAttribute("aria-expanded", isOpen && hasLayers);
  find(".heads").hidden = !isOpen || !hasLayers;
  if (!isOpen || !hasLayers || heads?.key === headsKey()) return;
  heads = { key: headsKey() };
  find(".heads .grid").replaceChildren();
  find(".heads h4").textContent = "Every head: computing …";
  send("heads", "heads", { ...headsQuestion(), key: headsKey() });
}

function makeHead(layer, head) {
  const cell = make("button", "head"), photo = make("div", "photo"), image = make("img"), canvas = make("canvas");
  cell.type = "button";
  cell.title = `Layer ${layer}, head ${head}`;
  cell.setAttribute("aria-label", cell.title);
  image.src = shown.photo;
  image.alt = "";
  canvas.width = canvas.height = HEAD_SIDE;
  canvas.setAttribute("aria-hidden", true);
  photo.append(image, canvas);
  cell.append(photo);
  cell.onclick = () => { // once more: back to all of them
    const isChosen = cell.getAttribute("aria-pressed") === "true";
    field("layer").value = isChosen ? "" : layer;
    field("head").value = isChosen ? "" : head;
    askForMaps();
  };
  return cell;
}

function makeGrid() {
  const numbers = (count) => Array.from({ length: count }, (_, i) => i);
  const grid = find(".heads .grid");
  grid.style.setProperty("--heads", heads.heads);
  grid.replaceChildren(...numbers(heads.layers).flatMap((layer) =>
    [make("span", "", layer), ...numbers(heads.heads).map((head) => makeHead(layer, head))]));
}

function showHeads(word) {
  if (find(".heads").hidden || !heads?.maps || heads.key !== headsKey()) return;
  find(".heads h4").replaceChildren("Every head, for ", make("bdi", "", `“${shown.words[word].text}”`));
  const { layer, head } = shown.settings, style = setting("colours"), strength = setting("strength") / 100;
  lens.querySelectorAll(".head").forEach((cell, i) => {
    const isChosen = Math.floor(i / heads.heads) === layer && i % heads.heads === head;
    cell.setAttribute("aria-pressed", isChosen);
    const map = heads.maps[word * heads.layers * heads.heads + i];
    drawMap(cell.querySelector("canvas"), map, heads, { style, strength, scale: 1 });
  });
}

field("heads").onclick = () => {
  isOpen = !isOpen;
  openHeads();
  showHeads(selected);
};

function receiveHeads(answer) {
  if (!heads || shown.state !== "done" || answer.key !== headsKey()) return; // of a caption before
  heads = { ...answer, maps: decodeMaps(answer) };
  makeGrid();
  showHeads(selected);
}

function closeHeads() {
  heads = null;
  isOpen = false;
  if (shown.state === "done") openHeads();
}
