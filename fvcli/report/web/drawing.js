/* What the stage shows and how it is drawn. Every place is in world units: pixels at zoom 1. */
const state = {
  mode: "wall",
  morph: 0,          // 0: the wall; 1: the map; between: on the way
  selected: -1,      // row in the inspector
  cursor: -1,        // row that the keyboard is at
  hovered: -1,
  matches: null,     // rows that find has found
  color: null,       // the grouping that colors, or null
  only: new Set(),   // its kinds that are shown; empty: all
};
const layout = { cell: 1, columns: 1, lines: 1, left: 0, top: 0, turned: false, at: new Int32Array(0) };
const lit = new Uint8Array(rows.count).fill(1);

/* Where the cells and the map's points are, for a stage of this size. A narrow one turns both on their side. */
function place(width, height, turned) {
  layout.turned = turned;
  layout.columns = turned ? wall.lines : wall.columns;
  layout.lines = turned ? wall.columns : wall.lines;
  layout.cell = Math.min(width / layout.columns, height / layout.lines);
  layout.left = (width - layout.cell * layout.columns) / 2;
  layout.top = (height - layout.cell * layout.lines) / 2;
  layout.at = new Int32Array(layout.columns * layout.lines).fill(-1);
  wallCells.forEach((cell, place) => { layout.at[lineOf(cell) * layout.columns + columnOf(cell)] = place; });
}
const columnOf = (cell) => (layout.turned ? Math.floor(cell / wall.columns) : cell % wall.columns);
const lineOf = (cell) => (layout.turned ? cell % wall.columns : Math.floor(cell / wall.columns));
const wallX = (place) => layout.left + (columnOf(wallCells[place]) + 0.5) * layout.cell;
const wallY = (place) => layout.top + (lineOf(wallCells[place]) + 0.5) * layout.cell;

const wide = near ? 65535 * Math.min(1, 1 / Math.max(near.aspect, 1e-6)) : 1, high = near ? 65535 * Math.min(1, near.aspect) : 1;
const margin = () => Math.min(24, view.width * 0.05);
const along = (share, length) => margin() + share * (length - 2 * margin());
function mapX(row) {
  return along(layout.turned ? points[2 * row + 1] / Math.max(1, high) : points[2 * row] / Math.max(1, wide), view.width);
}
function mapY(row) {
  return along(layout.turned ? points[2 * row] / Math.max(1, wide) : points[2 * row + 1] / Math.max(1, high), view.height);
}

/* Half the side of a row's dot or picture on the map; pictures grow out of the dots. */
const radius = () => Math.min(70, Math.max(1.1, Math.min(4.5, 140 / Math.sqrt(rows.count))) * view.zoom);
const SMALLEST_PICTURE = 6.5;

/* The style sheet's colors, resolved for the theme. */
const inks = new Map();
const probe = make("i", { class: "hidden" });
document.body.append(probe);
function ink(name) {
  if (!inks.has(name)) {
    probe.style.color = `var(${name})`;
    inks.set(name, getComputedStyle(probe).color);
  }
  return inks.get(name);
}

/* Which rows stand out: those near the selected one, or those found, and of them what the legend lets through. */
function light() {
  const chosen = state.selected >= 0 ? new Set([state.selected, ...nearestOf(state.selected).map((one) => one.row)]) : state.matches;
  for (let row = 0; row < rows.count; row += 1) {
    lit[row] = (!chosen || chosen.has(row)) && (!state.color || !state.only.size || state.only.has(state.color.of[row])) ? 1 : 0;
  }
}
const DIM = 0.3;

function drawBase(context, later) {
  context.clearRect(0, 0, view.width, view.height);
  if (state.morph > 0) drawMap(context);
  drawPictures(context, later);
  context.globalAlpha = 1;
}

function drawMap(context) {
  const r = radius(), none = ink("--soft");
  const paths = new Map();
  const alpha = state.morph * (rows.count > 5000 ? 0.7 : 0.9);
  for (let row = 0; row < rows.count; row += 1) {
    if (placeOf[row] >= 0 && (state.morph < 1 || r >= SMALLEST_PICTURE) && hasTile(row)) continue; // drawn as a picture
    const x = screenX(mapX(row)), y = screenY(mapY(row));
    if (x < -r || y < -r || x > view.width + r || y > view.height + r) continue;
    const dot = Math.min(r, 5);
    const key = (state.color ? state.color.of[row] : -1) * 2 + lit[row];
    if (!paths.has(key)) paths.set(key, new Path2D());
    if (r < 2) paths.get(key).rect(x - r, y - r, 2 * r, 2 * r);
    else {
      paths.get(key).moveTo(x + dot, y);
      paths.get(key).arc(x, y, dot, 0, 7);
    }
  }
  for (const key of [...paths.keys()].sort((a, b) => (a & 1) - (b & 1))) {
    context.globalAlpha = alpha * (key & 1 ? 1 : DIM / 2);
    context.fillStyle = key >= 0 ? colorOf(key >> 1) : none;
    context.fill(paths.get(key));
  }
}

function drawPictures(context, later) {
  const r = radius(), dots = state.morph === 1 && r < SMALLEST_PICTURE;
  const ratio = window.devicePixelRatio || 1;
  const onWall = layout.cell * view.zoom, onMap = 2 * r;
  const side = onWall + (onMap - onWall) * state.morph;
  const gap = state.morph === 0 ? (onWall > 34 ? 1 : 0) : 0;
  const sharp = state.morph % 1 === 0 && side * ratio > wall.side * 1.2;
  const empty = ink("--line");
  for (let place = 0; place < wallRows.length; place += 1) {
    const row = wallRows[place];
    if (dots && hasTile(row)) continue;
    const worldX = wallX(place) + (state.morph && (mapX(row) - wallX(place)) * state.morph);
    const worldY = wallY(place) + (state.morph && (mapY(row) - wallY(place)) * state.morph);
    const x = screenX(worldX) - side / 2, y = screenY(worldY) - side / 2;
    if (x > view.width || y > view.height || x < -side || y < -side) continue;
    context.globalAlpha = lit[row] ? 1 : DIM;
    if (hasTile(row)) {
      const image = sharp ? previewImage(row, later) : null;
      if (image) drawSquare(context, image, x + gap / 2, y + gap / 2, side - gap);
      else drawTile(context, row, x + gap / 2, y + gap / 2, side - gap);
    } else if (state.morph === 0) {
      context.fillStyle = empty;
      context.fillRect(x + 1, y + 1, side - 2, side - 2);
    }
    if (state.color) paintKind(context, row, x, y, side);
  }
}
/* The color of a row's kind: a strip under a picture on the wall, a frame around it on the map. */
function paintKind(context, row, x, y, side) {
  context.fillStyle = context.strokeStyle = colorOf(state.color.of[row]);
  if (state.morph < 0.5) {
    const strip = Math.max(2, side * 0.11);
    context.fillRect(x, y + side - strip, side, strip);
  } else {
    context.lineWidth = Math.max(1.5, side * 0.06);
    context.strokeRect(x, y, side, side);
  }
}

const centerOf = (row) => (state.mode === "wall" && placeOf[row] >= 0 ? [wallX(placeOf[row]), wallY(placeOf[row])] : [mapX(row), mapY(row)]);

/* What lies on top and changes as the mouse moves: the selected picture, its nearest, the one pointed at. */
function drawTop(context, later) {
  context.clearRect(0, 0, view.width, view.height);
  if (state.morph % 1) return;
  const plain = state.mode === "wall" ? layout.cell * view.zoom : Math.max(12, 2 * radius());
  if (state.selected >= 0) {
    for (const one of nearestOf(state.selected).reverse()) enlarged(context, one.row, Math.min(110, Math.max(plain * 1.3, 16)), ink("--near"), 2, later);
    enlarged(context, state.selected, Math.min(150, Math.max(plain * 1.9, 30)), ink("--accent"), 3, later);
  } else if (state.matches && state.mode === "map" && 2 * radius() < 12) {
    for (const row of [...state.matches].slice(0, 200)) enlarged(context, row, 14, ink("--near"), 2, later);
  }
  const pointed = state.hovered >= 0 ? state.hovered : state.cursor;
  if (pointed >= 0 && pointed !== state.selected) enlarged(context, pointed, Math.min(150, Math.max(plain * 2.2, 56)), ink("--ink"), 2, later);
}
function enlarged(context, row, side, color, border, later) {
  if (state.mode === "wall" && placeOf[row] < 0) return; // not on the wall
  const [worldX, worldY] = centerOf(row);
  const half = side / 2 + border;
  let x = screenX(worldX), y = screenY(worldY);
  if (x < -half || y < -half || x > view.width + half || y > view.height + half) return;
  x = Math.min(view.width - half, Math.max(half, x)) - side / 2;
  y = Math.min(view.height - half, Math.max(half, y)) - side / 2;
  context.save();
  context.shadowColor = "rgb(0 0 0 / .45)";
  context.shadowBlur = 8;
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(x - border, y - border, side + 2 * border, side + 2 * border, 4);
  context.fill();
  context.restore();
  context.fillStyle = ink("--raised");
  context.fillRect(x, y, side, side);
  const image = side > wall.side * 0.8 || !hasTile(row) ? previewImage(row, later) : null;
  if (image) drawSquare(context, image, x, y, side);
  else if (hasTile(row)) drawTile(context, row, x, y, side);
}
