/* The pictures: squares from the sprite, larger previews, and what is shown where there is none. */
const STATES = {
  gone: "file is gone",
  changed: "file has changed since",
  unreadable: "file cannot be read now",
  "left out": "picture left out",
  off: "no picture",
  absent: "not among the pictures",
};
const extras = new Map(facts.extras.map((one) => [one.row, one]));

function stateOf(row) {
  if (placeOf[row] >= 0) return wall.states[placeOf[row]];
  return extras.has(row) ? extras.get(row).state : "absent";
}
function previewOf(row) {
  if (placeOf[row] >= 0 && wall.previews[placeOf[row]]) return wall.previews[placeOf[row]];
  return extras.has(row) ? extras.get(row).preview : "";
}

const sprite = new Image();
const spriteReady = new Promise((done) => {
  sprite.onload = sprite.onerror = done;
  if (wall && wall.sprite) sprite.src = wall.sprite;
  else done();
});
const hasTile = (row) => placeOf[row] >= 0 && wall.states[placeOf[row]] === "shown" && sprite.naturalWidth > 0;

function drawTile(context, row, x, y, side) {
  const place = placeOf[row];
  const left = (place % wall.across) * wall.side, top = Math.floor(place / wall.across) * wall.side;
  /* Half a pixel inside its square, so that smoothing does not mix in the next picture. */
  context.drawImage(sprite, left + 0.5, top + 0.5, wall.side - 1, wall.side - 1, x, y, side, side);
}

/* Previews as decoded images for the canvas; the oldest are dropped. */
const LOADED = 300;
const loaded = new Map();
function previewImage(row, ready) {
  let image = loaded.get(row);
  if (!image) {
    const source = previewOf(row);
    if (!source) return null;
    image = new Image();
    image.onload = ready;
    image.src = source;
    loaded.set(row, image);
    if (loaded.size > LOADED) loaded.delete(loaded.keys().next().value);
  }
  return image.complete && image.naturalWidth ? image : null;
}
function drawSquare(context, image, x, y, side) {
  const square = Math.min(image.naturalWidth, image.naturalHeight);
  context.drawImage(image, (image.naturalWidth - square) / 2, (image.naturalHeight - square) / 2, square, square, x, y, side, side);
}

/* A picture as an element, as large as its surroundings let it be. */
function picture(row, lazy = true) {
  const source = previewOf(row);
  if (source) {
    const image = make("img", { src: source, alt: nameOf(row), decoding: "async", loading: lazy ? "lazy" : null });
    return make("div", { class: "picture" }, image);
  }
  if (!hasTile(row)) return make("div", { class: "picture none" }, STATES[stateOf(row)]);
  const tile = make("canvas", { role: "img", "aria-label": nameOf(row), width: wall.side, height: wall.side });
  drawTile(tile.getContext("2d"), row, 0, 0, wall.side);
  return make("div", { class: "picture" }, tile);
}
/* One that opens the inspector. */
function pictureButton(row, score) {
  return make("button", { type: "button", class: "tile", title: pathOf(row), onclick: () => visit(row) },
    picture(row), score === undefined ? null : make("span", { class: "score" }, typeof score === "number" ? cosine(score) : score));
}
