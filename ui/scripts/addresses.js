// Tabs and examples have addresses: #caption, #caption/cat. Own photos stay with their visitor.
const TAB = "[role=tab]", EXAMPLE = ".examples button";
const tabs = () => [...document.querySelectorAll(TAB)];
const getAddress = (tab) => "#" + tab.textContent.trim().toLowerCase().replace(/\W+/g, "-");
const openTab = () => tabs().find((tab) => tab.getAttribute("aria-selected") === "true");

async function openAddress() {
  const [address, example] = location.hash.split("/");
  const tab = tabs().find((one) => getAddress(one) === address) ?? (address ? null : tabs()[0]);
  if (tab && tab !== openTab()) tab.click();
  if (!example) return;
  for (let tries = 0; tries < 50; tries++) { // a tab's content comes when it is opened
    const button = findVisible(`${EXAMPLE}[data-name="${CSS.escape(example)}"]`);
    if (button) return button.click();
    await new Promise((done) => setTimeout(done, 100));
  }
}

document.addEventListener("click", ({ target, isTrusted }) => {
  if (!isTrusted) return; // Back and Forward choose tabs and examples too, and are no new entries
  const tab = target.closest?.(TAB), example = target.closest?.(EXAMPLE);
  const address = tab ? getAddress(tab) : example && `${getAddress(openTab())}/${example.dataset.name}`;
  if (address && address !== location.hash) history.pushState(null, "", address);
});
addEventListener("popstate", openAddress);

// A photo of the visitor's own is at no example's address.
function leaveExample() {
  if (location.hash.includes("/")) history.replaceState(null, "", location.hash.split("/")[0]);
}
openAddress();
