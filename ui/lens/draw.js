// Draws maps over a photo, by the table of styles that Python's figures use too (`STYLES`).
function decodeMaps({ data, rows, cols }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), size = rows * cols;
  return Array.from({ length: bytes.length / size }, (_, map) => bytes.subarray(map * size, (map + 1) * size));
}

// Lays a map, rows × cols bytes with its peak at 255, over what is on the canvas's photo.
// `scale` is what its heights are multiplied by, at most 1.
function drawMap(canvas, map, { rows, cols }, { style, strength, scale }) {
  const small = document.createElement("canvas");
  small.width = cols;
  small.height = rows;
  const patches = new ImageData(cols, rows);
  map.forEach((height, i) => patches.data.set([height, height, height, 255], 4 * i));
  small.getContext("2d").putImageData(patches, 0, 0);
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, width, height);
  const layer = context.getImageData(0, 0, width, height), pixels = layer.data;
  const isInside = (pixel) => heights[pixel] >= 128;
  const heights = Uint8Array.from({ length: width * height }, (_, i) => Math.round(pixels[4 * i] * scale));
  const { table, contour } = STYLES[style];
  for (let i = 0; i < heights.length; i++) {
    const isEdge = contour && (
      (i % width < width - 1 && isInside(i) !== isInside(i + 1))
      || (i + width < heights.length && isInside(i) !== isInside(i + width)));
    const [red, green, blue, opacity] = isEdge ? contour : table[heights[i]];
    pixels[4 * i] = red;
    pixels[4 * i + 1] = green;
    pixels[4 * i + 2] = blue;
    pixels[4 * i + 3] = opacity * strength;
  }
  context.putImageData(layer, 0, 0);
}
