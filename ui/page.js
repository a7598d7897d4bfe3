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
  const take = (files) => {
    const input = findVisible("input[type=file]");
    if (!input) return; // a tab without photos, or the camera is on
    const transfer = new DataTransfer();
    for (const file of input.multiple ? files : files.slice(0, 1)) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const keepImages = (transfer) => [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  addEventListener("paste", (event) => {
    const files = keepImages(event.clipboardData);
    if (!files.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    take(files);
  }, true);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    if (event.defaultPrevented) return; // by a box, which takes it itself
    event.preventDefault();
    const files = keepImages(event.dataTransfer);
    if (files.length) take(files);
  });
}
