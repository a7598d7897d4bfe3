// A photo may be pasted or dropped anywhere, and a file that is none is told so.
const NO_PHOTO = "is no photo. Give a JPEG, PNG, WebP or HEIC file; the page of a document can be saved as one.";

function findVisible(selector) {
  return [...document.querySelectorAll(`[role=tabpanel] ${selector}`)]
    .find((element) => element.closest("[role=tabpanel]").checkVisibility());
}

// Whether files may go into a box: one for many photos takes zips too, and says itself what is wrong.
function isAccepted(files, input) {
  if (input.multiple || !files.length) return true;
  const [{ name, type }] = files; // browsers know HEIC by its name alone, if at all
  if (!type || type.startsWith("image/")) return true;
  showNote(`${name} ${NO_PHOTO}`);
  return false;
}

// Gives files to the tab's own input; false where there is none.
function take(files) {
  const input = findVisible("input[type=file]");
  if (!input || !files.length) return false; // a tab without photos, or the camera is on
  const transfer = new DataTransfer();
  for (const file of input.multiple ? files : files.slice(0, 1)) transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}

const isText = ({ target }) => target.closest?.("input:not([type=file]), textarea, [contenteditable]");
const hasFiles = (event) => event.dataTransfer?.types.includes("Files"); // and is no text that is moved

function refuse(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

addEventListener("change", (event) => {
  const input = event.target;
  if (input.type !== "file" || isAccepted(input.files, input)) return;
  refuse(event);
  input.value = "";
}, true);
addEventListener("paste", (event) => {
  // spreadsheets put a picture of their cells beside the text
  if (isText(event) && event.clipboardData?.types.includes("text/plain")) return;
  const images = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  if (take(images)) refuse(event);
}, true);
addEventListener("dragover", (event) => {
  if (hasFiles(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  const input = event.target.closest?.(".block")?.querySelector("input[type=file]");
  if (input && hasFiles(event) && !isAccepted(event.dataTransfer.files, input)) refuse(event);
}, true);
addEventListener("drop", (event) => {
  if (event.defaultPrevented || !hasFiles(event)) return; // a box takes it itself
  event.preventDefault();
  take([...event.dataTransfer.files]);
});

// Of a format that the browser cannot draw, such as HEIC, the box shows what the lens gets.
addEventListener("error", ({ target }) => {
  if (!target.matches?.(".image-frame img")) return;
  target.alt = "This browser cannot draw this format; the photo is shown beside its caption.";
  const lensPhoto = target.closest("[role=tabpanel]")?.querySelector(".lens .stage img");
  lensPhoto?.addEventListener("load", () => { target.src = lensPhoto.src; }, { once: true });
}, true);

// The box's photo, whichever way it came, is the one that other tabs take along.
window.captionLens = {
  notePhoto(photo) {
    if (!photo) return;
    this.photo = photo;
    const name = photo.orig_name?.replace(/\.\w+$/, "");
    const isExample = [...document.querySelectorAll(EXAMPLE)].some((one) => one.dataset.name === name);
    if (!isExample) leaveExample();
  },
  // The photo that was chosen last, if the tab does not have it.
  findNewer(own, captioned) {
    const photo = this.photo ?? captioned;
    return photo && photo.url !== own?.url ? photo : null;
  },
};
