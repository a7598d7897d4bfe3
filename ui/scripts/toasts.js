// What is told again while it can still be read is shown once: gradio adds it to the same toast, line
// under line.
new MutationObserver(() => {
  for (const toast of document.querySelectorAll(".toast-body")) {
    const told = new Set();
    for (const line of toast.querySelectorAll(".toast-message-item")) {
      line.hidden = told.has(line.textContent);
      told.add(line.textContent);
    }
  }
}).observe(document.querySelector(".toast-wrap"), { childList: true, subtree: true });
