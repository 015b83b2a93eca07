/* Puts the page together. */
function themed() {
  inks.clear();
  redraw();
}
function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    themed();
  });
  dark.addEventListener("change", themed);
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.menu)")];
    for (const one of opened) one.open = true;
    inks.clear();
    if (wall) drawNow();
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
    themed();
  });
}

spriteReady.then(() => {
  startDuplicates();
  startHead();
  startNotice();
  if (wall) {
    startFind();
    overview();
    startStage();
  }
  startOutliers();
  startClusters();
  startExtremes();
  startFailures();
  startPassedOver();
  startHistograms();
  startDetails();
  startContents();
  startTheme();
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
});
