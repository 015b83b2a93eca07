/* The rows in the page, by number: names, sizes, labels, nearest pictures, and what they are grouped by. */
const rows = facts.rows;
const sizes = unpack(rows.sizes, Uint32Array);
const formats = unpack(rows.format, Uint8Array);
const folderOf = new Uint32Array(rows.count);
let filled = 0;
for (const [folder, length] of rows.runs) {
  folderOf.fill(folder, filled, filled + length);
  filled += length;
}

const nameOf = (row) => rows.names[row];
const pathOf = (row) => rows.folders[folderOf[row]] + rows.names[row];
const widthOf = (row) => sizes[row * 3];
const heightOf = (row) => sizes[row * 3 + 1];
const bytesOf = (row) => sizes[row * 3 + 2];
const formatOf = (row) => rows.formats[formats[row]] || "";
const describe = (row) => `${widthOf(row)} × ${heightOf(row)} · ${bytes(bytesOf(row))}`;
/* The path to give to other programs; null where it is not UTF-8, and rows.raw has its bytes. */
const exactPath = (row) => (row in rows.raw ? null : row in rows.exact ? rows.exact[row] : pathOf(row));

const wall = facts.wall;
const wallRows = wall ? unpack(wall.rows, Uint32Array) : new Uint32Array(0);
const wallCells = wall ? unpack(wall.cells, Uint16Array) : new Uint16Array(0);
const placeOf = new Int32Array(rows.count).fill(-1);
wallRows.forEach((row, place) => { placeOf[row] = place; });

const near = facts.nearest;
const nearPlaces = near ? unpack(near.places, Uint16Array) : null;
const nearScores = near ? unpack(near.scores, Uint16Array) : null;
const points = near ? unpack(near.points, Uint16Array) : new Uint16Array(0);
function nearestOf(row) {
  const found = [];
  for (let i = row * near.k; i < (row + 1) * near.k; i += 1) {
    if (nearPlaces[i] !== 65535) found.push({ row: wallRows[nearPlaces[i]], score: nearScores[i] / 32767 - 1 });
  }
  return found;
}

const labels = facts.labels;
const labelBest = labels ? unpack(labels.best, Uint16Array) : null;
const labelScores = labels ? unpack(labels.scores, Uint8Array) : null;
function labelsOf(row) {
  const found = [];
  if (!labels) return found;
  for (let i = row * labels.k; i < (row + 1) * labels.k; i += 1) {
    if (labelBest[i] !== 65535) found.push({ name: labels.names[labelBest[i]], score: labelScores[i] / 255 });
  }
  return found;
}

const groupings = facts.groupings.map((one) => ({ ...one, of: unpack(one.of, Uint8Array) }));
const kindOf = (name, row) => {
  const grouping = groupings.find((one) => one.name === name);
  return grouping ? grouping.of[row] : -1;
};
const PALETTE = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#9c6ade", "#17a2b8", "#d4a72c", "#e377c2", "#8c6d4f", "#2f9e8f", "#7f9f2f", "#8b929a"];
const colorOf = (kind) => PALETTE[kind % PALETTE.length];
