// What the lens asks for, and what it shows until the answer is there.
const SLOW = "Hiding one part of the photo after the other; about half a minute"; // of occlusion

let clock = null; // the timer while maps are computed

// How many requests of each kind have not ended yet. Which of them it is that ends, gradio does not
// tell: the lens waits for the last one.
const waiting = { ask: 0, heads: 0, save: 0 };

function send(kind, event, values) {
  waiting[kind] += 1;
  trigger(event, values);
}

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
  send("ask", event, values);
}

// Leaves what was shown before the lens asked.
function giveUp(message) {
  busy(false);
  wanted = {}; // or each caption from here on would ask for it again
  if (undoable.at(-1)?.isAsked) ({ own } = undoable.pop());
  find(".announcement").textContent = message;
  if (shown.settings) {
    showSettings();
    openHeads();
  }
}

field("cancel").onclick = () => {
  trigger("give_up", {});
  giveUp("Cancelled.");
};

// The lens's own value comes by itself.
const RECEIVE = { heads: receiveHeads, save: ({ url, name }) => clickLink(url, name) };
// What is still waited for when the last request has ended does not come.
const STOP_WAITING = {
  ask: () => lens.classList.contains("busy") && giveUp("That did not work."),
  heads: () => heads && !heads.maps && closeHeads(),
  save: stopSaving,
};
for (const kind of Object.keys(waiting)) {
  element.addEventListener(`lens:${kind}-ended`, ({ detail: answer }) => {
    waiting[kind] -= 1;
    if (answer) RECEIVE[kind](answer);
    if (!waiting[kind]) STOP_WAITING[kind]();
  });
}
// A caption that failed leaves no new value behind: the page says so instead.
element.addEventListener("lens:failed", () => {
  if (shown.state !== "writing") return;
  props.value = { state: "empty", prompt: "That did not work." };
  show();
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
    send("save", "save", { ...mapSettings(), ...drawing, kind });
  };
}
