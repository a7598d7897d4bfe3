// A line at the window's edge, for what would otherwise go without a word.
const NOTE_SECONDS = 12;
const note = document.createElement("p");
note.id = "page-note";
note.setAttribute("role", "alert");
note.hidden = true;
document.querySelector(".gradio-container").append(note);
let noteTimer = null;

function showNote(text) {
  note.textContent = text;
  note.hidden = false;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => { note.hidden = true; }, 1000 * NOTE_SECONDS);
}

// gradio lets these fail without a word: which one it was, its button tells.
const REFUSALS = {
  "Paste from clipboard": "This browser lets no page read the clipboard here. Press Ctrl+V (⌘V on a Mac) instead.",
  camera: "There is no camera, or the browser does not allow it here. Allow it, or choose a photo.",
};
let asked = null;
document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("button, [title='grant webcam access']");
  if (!button) return;
  const isCamera = button.closest("[title='grant webcam access']");
  asked = isCamera ? "camera" : button.getAttribute("aria-label");
}, true);
addEventListener("unhandledrejection", () => {
  if (REFUSALS[asked]) showNote(REFUSALS[asked]);
  asked = null;
});
