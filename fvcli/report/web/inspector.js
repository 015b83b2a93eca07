/* The panel beside the stage: the selected picture with its nearest ones, else an overview of the clusters. */
const panel = byId("panel");

function select(row) {
  state.selected = row;
  state.cursor = -1;
  point(-1);
  light();
  inspect(row);
  say(row);
  redraw();
  uncover(row);
}
/* On a phone the panel lies over the lower half of the window: what it shows moves above it. */
function uncover(row) {
  if (getComputedStyle(panel).position !== "fixed" || (state.mode === "wall" && placeOf[row] < 0)) return;
  const room = window.innerHeight - panel.offsetHeight;
  const y = canvas.getBoundingClientRect().top + screenY(centerOf(row)[1]);
  if (y < 40 || y > room - 40) window.scrollBy({ top: y - room / 2 });
}
/* Selects from anywhere on the page, and goes to where the inspector is. */
function visit(row) {
  select(row);
  byId("look").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
  canvas.focus({ preventScroll: true });
}
function close() {
  if (state.selected < 0 && panel.dataset.shows === "overview") return;
  state.cursor = document.activeElement === canvas ? state.selected : -1;
  state.selected = -1;
  light();
  if (state.matches) showResults();
  else overview();
  redraw();
}

function show(what, ...children) {
  panel.dataset.shows = what;
  panel.replaceChildren(...children.filter(Boolean));
  panel.scrollTop = 0;
}

function inspect(row) {
  const folder = rows.folders[folderOf[row]].replace(/\/$/, "");
  const found = nearestOf(row);
  const relatives = typeof groupOf === "function" ? groupOf(row) : null;
  show("picture",
    make("div", { class: "large" }, picture(row, false), button("×", close, { class: "close", "aria-label": "Close" })),
    make("div", { class: "title" }, named(nameOf(row), pathOf(row), "h2"), button("Copy path", () => copyPath(row))),
    make("p", { class: "facts" }, `${describe(row)} · ${formatOf(row)}${row in rows.raw ? " · name is not UTF-8" : ""}`),
    folder ? make("p", { class: "facts" }, "in ", named(folder)) : null,
    labelList(row),
    relatives ? make("p", { class: "facts" }, make("a", { href: "#duplicates", onclick: (event) => { event.preventDefault(); showGroup(row); } },
      `${many(relatives.rows.length - 1, "near-duplicate")}`)) : null,
    found.length ? make("h3", null, wall.all ? "Nearest" : "Nearest on the wall") : null,
    make("ul", { class: "nearest" }, ...found.map((one) => make("li", null, pictureButton(one.row, one.score)))),
    state.matches ? button("Back to the results", () => { close(); byId("find").focus(); }, { class: "back" }) : null);
}
function labelList(row) {
  const found = labelsOf(row);
  if (!found.length) return null;
  return make("ul", { class: "labels", "aria-label": "Labels" }, ...found.map((one) => {
    const bar = make("i", { "aria-hidden": "true" });
    bar.style.setProperty("--share", `${one.score * 100}%`);
    return make("li", null, named(one.name), bar, make("span", { class: "soft" }, one.score.toFixed(2)));
  }));
}
function copyPath(row) {
  const path = exactPath(row);
  if (path === null) toast("This name is not UTF-8; the mv script can hold it, the clipboard cannot.");
  else copy(path, "Path copied");
}

/* Nothing selected: the clusters, each a way into the wall. */
function overview() {
  if (!facts.clusters.length) {
    show("overview", make("p", { class: "note" }, "Select a picture to see it large, with its path and the pictures most like it."));
    return;
  }
  const grouping = groupings.find((one) => one.name === "cluster");
  show("overview", make("h2", null, "What is here"), make("ul", { class: "overview" }, ...facts.clusters.map((cluster, number) => {
    const swatch = make("i", { class: "swatch" });
    swatch.style.background = colorOf(number);
    const open = () => {
      if (state.color !== grouping) colorBy(grouping);
      only(-1);
      only(number);
    };
    return make("li", null, make("button", { type: "button", onclick: open, title: `Show ${cluster.name} on the wall` },
      make("span", { class: "label" }, swatch, named(cluster.name), make("span", { class: "soft" }, percent(cluster.count / rows.count))),
      make("span", { class: "minis" }, ...cluster.typical.slice(0, 5).map((row) => mini(row)))));
  })));
}
function mini(row) {
  const side = Math.min(wall.side, 72);
  const tile = make("canvas", { width: side, height: side, "aria-hidden": "true" });
  spriteReady.then(() => { if (hasTile(row)) drawTile(tile.getContext("2d"), row, 0, 0, side); });
  return tile;
}
