// What holds for the whole page: tabs have addresses, and a photo may be pasted or dropped anywhere.
() => {
  const TAB = "[role=tab], .overflow-dropdown button"; // on a phone some wait behind a button
  const tabs = () => [...document.querySelectorAll(TAB)];
  const getAddress = (tab) => "#" + tab.textContent.trim().toLowerCase().replace(/\W+/g, "-");
  const openAddress = () => {
    const tab = tabs().find((one) => getAddress(one) === location.hash) ?? (location.hash ? null : tabs()[0]);
    if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
  };
  document.addEventListener("click", ({ target, isTrusted }) => {
    const tab = target.closest?.(TAB);
    // Back and Forward choose tabs too, and are no new entries
    if (tab && isTrusted && getAddress(tab) !== location.hash) history.pushState(null, "", getAddress(tab));
  });
  addEventListener("popstate", openAddress);
  openAddress();

  const findVisible = (selector) => [...document.querySelectorAll(`[role=tabpanel] ${selector}`)]
    .find((element) => element.closest("[role=tabpanel]").checkVisibility());
  // Gives files to the tab's own input, which says what is wrong with them; false where there is none.
  const take = (files) => {
    const input = findVisible("input[type=file]");
    if (!input || !files.length) return false; // a tab without photos, or the camera is on
    const transfer = new DataTransfer();
    for (const file of input.multiple ? files : files.slice(0, 1)) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  const isText = ({ target }) => target.closest?.("input:not([type=file]), textarea, [contenteditable]");
  addEventListener("paste", (event) => {
    // spreadsheets put a picture of their cells beside the text
    if (isText(event) && event.clipboardData?.types.includes("text/plain")) return;
    const images = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!take(images)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files"); // and is no text that is moved
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (event.defaultPrevented || !hasFiles(event)) return; // a box takes it itself
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}
