// What the scripts of a lens share. They run as one, once per lens, with `element`, `props`, `watch`
// and `trigger` from gradio. Whatever a tokenizer or a visitor wrote goes in as text, never as markup.
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

let shown = {}; // what the lens shows, kept over values that say only what is new
let maps = null; // a Uint8Array a word: rows × cols, each map's own peak at 255
let selected = 0; // the word that was chosen, which stays
let own = new Set(); // the indices of the words that the visitor chose
let undoable = []; // what was shown before each of the visitor's words
let wanted = {}; // method, layer and head as the visitor chose them, kept for the next caption
let refocus = false; // what had the keyboard's focus was replaced

const captionText = () => shown.words?.map((word) => word.text).join(" ");
const setting = (name) => field(name).value;
