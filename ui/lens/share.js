// What a visitor saves: one picture, or an animation whose words light up, made in the browser.
const SHARED_SIDE = 720; // pixels of the longer side of the photo
const FRAME_MILLISECONDS = 700;

// The photo with a word's map and, beneath it, the sentence with the word marked.
function drawFrame(photo, words, word, paintMap, style) {
  const scale = SHARED_SIDE / Math.max(photo.naturalWidth, photo.naturalHeight);
  const width = Math.round(photo.naturalWidth * scale), height = Math.round(photo.naturalHeight * scale);
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = Math.max(width, 360);
  context.font = "26px system-ui, sans-serif";
  const space = context.measureText(" ").width, places = [];
  let x = 16, line = 0;
  for (const text of words) {
    const length = context.measureText(text).width;
    if (x > 16 && x + length > canvas.width - 16) [x, line] = [16, line + 1];
    places.push([x, line, length]);
    x += length + space;
  }
  canvas.height = height + 40 * (line + 1) + 24;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const left = Math.round((canvas.width - width) / 2);
  context.filter = `saturate(${STYLES[style].photoColour})`;
  context.drawImage(photo, left, 0, width, height);
  context.filter = "none";
  const map = document.createElement("canvas");
  map.width = width;
  map.height = height;
  paintMap(map, word);
  context.drawImage(map, left, 0);
  context.font = "26px system-ui, sans-serif"; // a canvas that is sized anew forgets it
  context.textBaseline = "middle";
  words.forEach((text, i) => {
    const [start, row, length] = places[i], middle = height + 32 + 40 * row;
    if (i === word) {
      context.fillStyle = "#c2570c";
      context.beginPath();
      context.roundRect(start - 4, middle - 17, length + 8, 34, 7);
      context.fill();
    }
    context.fillStyle = i === word ? "#fff" : "#16181d";
    context.fillText(text, start, middle);
  });
  return canvas;
}

const encode = (canvas, type, quality) => new Promise((done) => { canvas.toBlob(done, type, quality); });

function makeChunk(name, content) {
  const chunk = new Uint8Array(8 + content.length + (content.length % 2));
  chunk.set([...name].map((c) => c.charCodeAt(0)));
  new DataView(chunk.buffer).setUint32(4, content.length, true);
  chunk.set(content, 8);
  return chunk;
}

const joinBytes = (parts) => {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) { joined.set(part, end); end += part.length; }
  return joined;
};
const littleEndian = (value, bytes) => Array.from({ length: bytes }, (_, i) => (value >> (8 * i)) & 255);

// Frames of one size as an animated WebP that repeats for ever. The container is
// https://developers.google.com/speed/webp/docs/riff_container; null where a browser makes no WebP.
async function makeAnimation(frames) {
  const size = [...littleEndian(frames[0].width - 1, 3), ...littleEndian(frames[0].height - 1, 3)];
  const chunks = [makeChunk("VP8X", [2, 0, 0, 0, ...size]), makeChunk("ANIM", [255, 255, 255, 255, 0, 0])];
  for (const frame of frames) {
    const blob = await encode(frame, "image/webp", 0.85);
    if (blob.type !== "image/webp") return null;
    const still = new Uint8Array(await blob.arrayBuffer()), view = new DataView(still.buffer);
    const pictures = []; // a still's chunks, without the header that the animation has itself
    for (let at = 12; at + 8 <= still.length;) {
      const length = 8 + view.getUint32(at + 4, true), end = at + length + (length % 2);
      if (["VP8 ", "VP8L", "ALPH"].includes(String.fromCharCode(...still.subarray(at, at + 4)))) {
        pictures.push(still.subarray(at, end));
      }
      at = end;
    }
    const header = [0, 0, 0, 0, 0, 0, ...size, ...littleEndian(FRAME_MILLISECONDS, 3), 2];
    chunks.push(makeChunk("ANMF", joinBytes([Uint8Array.from(header), ...pictures])));
  }
  const name = Uint8Array.from([..."WEBP"].map((c) => c.charCodeAt(0)));
  return new Blob([makeChunk("RIFF", joinBytes([name, ...chunks]))], { type: "image/webp" });
}

function clickLink(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  clickLink(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
