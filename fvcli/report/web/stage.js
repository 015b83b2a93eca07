/* The stage: the wall and the map on one canvas, and how one moves about on it. */
const canvas = byId("canvas"), base = byId("base");
const layers = [base, canvas].map((one) => one.getContext("2d"));
let frame = 0, baseStale = true;

function redraw(everything = true) {
  baseStale = baseStale || everything;
  if (!frame) frame = requestAnimationFrame(drawNow);
}
function drawNow() {
  frame = 0;
  if (!view.width) return;
  if (baseStale) drawBase(layers[0], () => redraw());
  baseStale = false;
  drawTop(layers[1], () => redraw(false));
}

/* The wall fills the width it can have at its own shape, and no more height than the window. */
function resize() {
  const area = byId("area");
  const full = area.clientWidth;
  if (!full || !wall) return;
  const narrow = window.matchMedia("(max-width: 52rem)").matches;
  const turned = narrow && wall.columns > wall.lines;
  const columns = turned ? wall.lines : wall.columns, lines = turned ? wall.columns : wall.lines;
  const most = narrow ? full : Math.min(full - 320, full * 0.8);
  const tallest = narrow ? Math.max(420, window.innerHeight * 0.8) : Math.max(420, window.innerHeight - 150);
  const cells = Math.max(columns, 4), shape = lines / columns;
  let width = Math.min(most, tallest / shape, cells * 160);
  if (narrow) width = most;
  const height = Math.min(Math.round(width * shape), narrow ? Math.round(tallest) : Infinity);
  area.style.setProperty("--stage", `${Math.floor(width)}px`);
  view.width = Math.floor(width);
  view.height = Math.max(height, 180);
  byId("stage").style.height = `${view.height}px`;
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  [base, canvas].forEach((one, layer) => {
    one.width = Math.round(view.width * ratio);
    one.height = Math.round(view.height * ratio);
    layers[layer].setTransform(ratio, 0, 0, ratio, 0, 0);
    layers[layer].imageSmoothingQuality = "high";
  });
  place(view.width, view.height, turned);
  resetView();
  moved();
}

function moved() {
  canvas.classList.toggle("zoomed", view.zoom > 1);
  byId("zoom-all").hidden = view.zoom === 1;
  redraw();
}

/* The row at a place on the screen, or -1. */
function rowAt(x, y) {
  if (state.mode === "wall") {
    const column = Math.floor((worldX(x) - layout.left) / layout.cell), line = Math.floor((worldY(y) - layout.top) / layout.cell);
    if (column < 0 || line < 0 || column >= layout.columns || line >= layout.lines) return -1;
    const found = layout.at[line * layout.columns + column];
    return found < 0 ? -1 : wallRows[found];
  }
  const reach = Math.max(12, radius());
  let best = -1, least = reach * reach;
  for (let row = 0; row < rows.count; row += 1) {
    const far = (screenX(mapX(row)) - x) ** 2 + (screenY(mapY(row)) - y) ** 2 + (lit[row] ? 0 : 25);
    if (far < least) { least = far; best = row; }
  }
  return best;
}

function point(row) {
  if (row === state.hovered) return;
  state.hovered = row;
  const line = byId("pointed");
  line.hidden = row < 0;
  if (row >= 0) line.replaceChildren(named(pathOf(row)), make("span", { class: "soft" }, describe(row)));
  redraw(false);
}

function say(row) {
  const about = labelsOf(row)[0];
  byId("said").textContent = `${nameOf(row)}, ${widthOf(row)} by ${heightOf(row)}${about ? `, ${about.name}` : ""}`;
}

/* Arrow keys: to the next cell of the wall, or to the nearest row of the map in that direction. */
function step(across, down) {
  const from = state.selected >= 0 ? state.selected : state.cursor;
  const to = from < 0 ? first() : state.mode === "wall" ? nextCell(from, across, down) : nextPoint(from, across, down);
  if (to < 0) return;
  bringIn(...centerOf(to));
  if (state.selected >= 0) select(to);
  else {
    state.cursor = to;
    say(to);
    moved();
  }
}
const first = () => (wallRows.length ? wallRows[layout.at.find((found) => found >= 0)] : -1);
function nextCell(from, across, down) {
  if (placeOf[from] < 0) return first();
  const cell = wallCells[placeOf[from]];
  let column = columnOf(cell) + across, line = lineOf(cell) + down;
  for (; column >= 0 && line >= 0 && column < layout.columns && line < layout.lines; column += across, line += down) {
    const found = layout.at[line * layout.columns + column];
    if (found >= 0) return wallRows[found];
  }
  return -1;
}
function nextPoint(from, across, down) {
  let best = -1, least = Infinity;
  for (let row = 0; row < rows.count; row += 1) {
    const dx = mapX(row) - mapX(from), dy = mapY(row) - mapY(from);
    const ahead = dx * across + dy * down, aside = Math.abs(dx * down) + Math.abs(dy * across);
    if (ahead <= 0 || ahead + aside * 3 >= least) continue;
    least = ahead + aside * 3;
    best = row;
  }
  return best;
}

/* Wall and map are one set of pictures; they move from one to the other. */
function arrange(mode) {
  if (mode === state.mode) return;
  const from = state.morph, to = mode === "map" ? 1 : 0;
  state.mode = mode;
  state.hovered = state.cursor = -1;
  for (const tab of ["wall", "map"]) {
    byId(`tab-${tab}`).setAttribute("aria-selected", String(tab === mode));
    byId(`tab-${tab}`).tabIndex = tab === mode ? 0 : -1;
  }
  byId("stage").setAttribute("aria-labelledby", `tab-${mode}`);
  if (mode === "map" && !colorsChosen) colorBy(groupings.find((one) => one.name === "cluster") || groupings[0], false);
  if (mode === "wall" && !colorsChosen) colorBy(null, false);
  explain();
  resetView();
  const started = performance.now(), time = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 600;
  const run = (now) => {
    const share = time ? Math.min(1, Math.max(0, (now - started) / time)) : 1;
    state.morph = share === 1 ? to : from + (to - from) * (1 - (1 - share) ** 3);
    moved();
    if (share < 1 && state.mode === mode) requestAnimationFrame(run);
  };
  run(performance.now());
}
function explain() {
  const some = wall.all ? "" : ` ${count(wallRows.length)} of ${count(summary.rows)}, spread over all folders.`;
  const map = rows.count < summary.rows ? ` ${count(rows.count)} of ${count(summary.rows)} rows, spread over all folders.` : "";
  byId("hint").textContent = state.mode === "wall"
    ? `Similar pictures are side by side. Select one to see its nearest neighbors.${some}`
    : `Nearby dots are similar pictures. Zoom in and the dots become pictures.${map}`;
}

/* Colors and their legend. */
let colorsChosen = false;
function colorBy(grouping, chosen = true) {
  colorsChosen = colorsChosen || chosen;
  state.color = grouping;
  state.only.clear();
  for (const one of byId("colors").children) one.setAttribute("aria-pressed", String(one.dataset.name === (grouping ? grouping.name : "none")));
  byId("legend").hidden = !grouping;
  if (grouping) {
    fill("legend", ...grouping.kinds.map((kind, number) => {
      const swatch = make("i", { class: "swatch" });
      swatch.style.background = colorOf(number);
      return make("button", { type: "button", "aria-pressed": "false", onclick: () => only(number) }, swatch, named(kind.name), make("span", { class: "soft" }, count(kind.count)));
    }), button("Show all", () => only(-1), { class: "quiet", id: "legend-all", hidden: true }));
  }
  light();
  redraw();
}
function only(kind) {
  if (kind < 0) state.only.clear();
  else if (!state.only.delete(kind)) state.only.add(kind);
  [...byId("legend").querySelectorAll("[aria-pressed]")].forEach((one, number) => one.setAttribute("aria-pressed", String(state.only.has(number))));
  byId("legend-all").hidden = !state.only.size;
  light();
  redraw();
}

function startStage() {
  byId("look").hidden = false;
  const names = ["none", ...groupings.filter((one) => one.kinds.length > 1).map((one) => one.name)];
  fill("colors", ...names.map((name) => make("button", {
    type: "button", "data-name": name, "aria-pressed": String(name === "none"),
    onclick: () => colorBy(groupings.find((one) => one.name === name) || null),
  }, name)));
  byId("colors").parentElement.hidden = names.length === 1;
  const tabs = [byId("tab-wall"), byId("tab-map")];
  tabs.forEach((tab, number) => {
    tab.addEventListener("click", () => arrange(number ? "map" : "wall"));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      arrange(number ? "wall" : "map");
      tabs[1 - number].focus();
    });
  });
  const zoom = (factor) => { zoomAt(factor); moved(); };
  const reset = () => { resetView(); moved(); };
  listen(canvas, {
    moved,
    hover: (x, y) => point(rowAt(x, y)),
    leave: () => point(-1),
    tap: (x, y) => { const row = rowAt(x, y); if (row >= 0) select(row); else close(); },
  });
  byId("zoom-in").addEventListener("click", () => zoom(1.6));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
  byId("zoom-all").addEventListener("click", reset);
  const keys = {
    ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
    "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: reset,
    Enter: () => { if (state.cursor >= 0) select(state.cursor); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  canvas.addEventListener("blur", () => { state.cursor = -1; redraw(false); });
  let width = 0;
  new ResizeObserver(() => {
    if (byId("area").clientWidth !== width) {
      width = byId("area").clientWidth;
      resize();
    }
  }).observe(byId("area"));
  explain();
  resize();
}
