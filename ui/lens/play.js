// Play: the words one after the other.
const PLAY_MILLISECONDS = 700; // a word

let player = null; // the timer meanwhile

function stopPlaying() {
  if (player) clearInterval(player);
  player = null;
  field("play").textContent = "Play";
  field("play").setAttribute("aria-pressed", false);
}

function play() {
  let word = 0;
  const goOn = () => {
    if (word === shown.words.length) {
      stopPlaying();
      showChosen();
    } else showWord(word++);
  };
  player = setInterval(goOn, PLAY_MILLISECONDS);
  field("play").textContent = "Stop";
  field("play").setAttribute("aria-pressed", true);
  goOn();
}

field("play").onclick = () => {
  if (!player) return play();
  stopPlaying();
  showChosen();
};
