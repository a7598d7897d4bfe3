// What the lens asks for, and what it shows until the answer is there.
const SLOW = "Hiding one part of the photo after the other; about half a minute"; // of occlusion

let clock = null; // the timer while maps are computed

function busy(on) {
  lens.classList.toggle("busy", on);
  lens.setAttribute("aria-busy", on);
  clearInterval(clock);
  find(".working").hidden = true;
}

function ask(event, more) {
  const begun = Date.now(), values = { ...mapSettings(), ...more };
  const what = event === "go_on" ? "Writing" : values.method === "occlusion" ? SLOW : "Finding where it looked";
  const tick = () => {
    find(".working span").textContent = `${what} … ${Math.round((Date.now() - begun) / 1000)} s`;
  };
  busy(true);
  tick();
  clock = setInterval(tick, 1000);
  find(".working").hidden = false;
  field("cancel").hidden = event === "go_on";
  find(".announcement").textContent = `${what} …`;
  trigger(event, values);
}

// Leaves what was shown before the lens asked.
function giveUp(message) {
  busy(false);
  wanted = {}; // or each caption from here on would ask for it again
  find(".announcement").textContent = message;
  stopSaving();
  if (heads && !heads.maps) {
    heads = null;
    isOpen = false;
  }
  if (shown.settings) {
    showSettings();
    openHeads();
  }
}

field("cancel").onclick = () => {
  trigger("give_up", {});
  giveUp("Cancelled.");
};
// A request that failed leaves no new value behind: the page says so instead.
element.addEventListener("lens:failed", () => {
  giveUp("That did not work.");
  if (undoable.at(-1)?.isAsked) ({ own } = undoable.pop());
  if (shown.state === "writing") {
    props.value = { state: "empty", prompt: "That did not work." };
    show();
  }
});

const SAVED = { png: "Save figure", json: "Save data" };

function stopSaving() {
  for (const [kind, text] of Object.entries(SAVED)) {
    field(kind).disabled = false;
    field(kind).textContent = text;
  }
}

for (const kind of Object.keys(SAVED)) {
  field(kind).onclick = () => {
    field(kind).disabled = true;
    field(kind).textContent = "Saving …";
    const drawing = { shared: field("shared").checked, colours: setting("colours"), strength: setting("strength") / 100 };
    trigger("save", { ...mapSettings(), ...drawing, kind });
  };
}
element.addEventListener("lens:file", ({ detail }) => {
  stopSaving();
  const link = document.createElement("a");
  link.href = detail.url;
  link.download = detail.name;
  link.click();
});
