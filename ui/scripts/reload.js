// What a reload brings back: the photo, its caption and the options, kept by the browser itself for
// as long as the window is open.
const KEPT = "captionlens";
const SKIPPED = { __type__: "update" }; // gradio's: leave the component as it is
const readKept = () => {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch { // blocked, as browsers may for a page inside another site's
    return {};
  }
};

Object.assign(window.captionLens, {
  keep(values) {
    const kept = readKept();
    if (values.photo && values.photo.url !== kept.photo?.url) kept.result = null;
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ ...kept, ...values }));
    } catch {} // blocked or full: a reload begins anew
  },
  // The values of the photo, the lens and the options.
  async restore(numOptions) {
    const skipped = Array(2 + numOptions).fill(SKIPPED);
    const isReload = performance.getEntriesByType("navigation")[0]?.type === "reload";
    const { photo, result, options } = readKept();
    const hasResult = photo || (photo === undefined && result); // of the photo that the page opens with
    if (!isReload || !hasResult || location.hash.includes("/")) return skipped;
    if (photo && !(await fetch(photo.url)).ok) return skipped; // files are kept for an hour
    const value = result ?? { state: "empty", prompt: "Choose “Caption” to see the photo's caption." };
    const kept = options?.length === numOptions ? options : skipped.slice(2);
    return [photo ?? SKIPPED, value, ...kept];
  },
});
document.addEventListener("lens:done", ({ target, detail }) => {
  if (target.closest("#caption-lens")) captionLens.keep({ result: detail });
});
