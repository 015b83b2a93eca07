/* Near-duplicates: groups at the threshold of the slider, as cards, and the list of what could go. */
const BATCH = 24, IDENTICAL = 1;
const duplicates = facts.duplicates;
const contentOf = new Map(duplicates ? duplicates.contents : []);
let groups = [], cardsShown = BATCH, groupByRow = new Map();

/* The rule of PageRows.best_first in rows.py. */
function rank(a, b) {
  return widthOf(b) * heightOf(b) - widthOf(a) * heightOf(a) || bytesOf(b) - bytesOf(a) || a - b;
}
function tagOf(group, row) {
  if (row === group.rows[0]) return "best";
  return contentOf.get(row) === contentOf.get(group.rows[0]) ? "same file" : "smaller";
}

/* Rows are in one group when links at or above the threshold connect them (union-find). */
function grouped(threshold) {
  const parent = new Map();
  const root = (row) => {
    let at = row;
    while (parent.has(at) && parent.get(at) !== at) at = parent.get(at);
    return at;
  };
  const links = duplicates.links.filter(([, , score]) => score >= threshold);
  for (const [a, b] of links) {
    const high = root(a), low = root(b);
    if (!parent.has(high)) parent.set(high, high);
    if (!parent.has(low)) parent.set(low, low);
    if (high !== low) parent.set(high, low);
  }
  const found = new Map();
  for (const row of parent.keys()) {
    const top = root(row);
    if (!found.has(top)) found.set(top, { rows: [], lowest: 1 });
    found.get(top).rows.push(row);
  }
  for (const [a, , score] of links) {
    const group = found.get(root(a));
    group.lowest = Math.min(group.lowest, score);
  }
  const result = [...found.values()];
  for (const group of result) {
    group.rows.sort(rank);
    group.frees = group.rows.slice(1).reduce((sum, row) => sum + bytesOf(row), 0);
    group.contents = new Map();
    for (const row of group.rows) {
      const content = contentOf.get(row);
      if (!group.contents.has(content)) group.contents.set(content, []);
      group.contents.get(content).push(row);
    }
  }
  return result.sort((a, b) => b.frees - a.frees || a.rows[0] - b.rows[0]);
}
const groupOf = (row) => groupByRow.get(row);

function regroup() {
  const threshold = Number(byId("threshold").value);
  groups = grouped(threshold);
  groupByRow = new Map(groups.flatMap((group) => group.rows.map((row) => [row, group])));
  cardsShown = BATCH;
  const text = threshold === IDENTICAL ? "identical only" : `cosine ≥ ${threshold.toFixed(threshold * 200 % 2 ? 3 : 2)}`;
  fill("threshold-text", make("b", null, text));
  byId("threshold").setAttribute("aria-valuetext", text);
  const pictures = groups.reduce((sum, group) => sum + group.rows.length, 0);
  const copies = groups.reduce((sum, group) => sum + [...group.contents.values()].reduce((more, some) => more + some.length - 1, 0), 0);
  const frees = groups.reduce((sum, group) => sum + group.frees, 0);
  byId("duplicates-sum").textContent = groups.length
    ? [many(groups.length, "group"), many(pictures, "picture"), copies ? many(copies, "identical copy", "identical copies") : "", `${bytes(frees)} could be freed`].filter(Boolean).join(" · ")
    : "no two pictures are this similar";
  for (const id of ["list-copy", "list-save", "list-format"]) byId(id).disabled = !groups.length;
  drawCards();
}

function drawCards() {
  fill("cards", ...groups.slice(0, cardsShown).map(card));
  byId("cards-more").hidden = groups.length <= cardsShown;
  byId("cards-more").textContent = `Show more (${count(groups.length - cardsShown)} left)`;
}
function card(group) {
  const contents = [...group.contents.values()];
  /* The best and the next that differs from it; where none does, the first copy. */
  const shown = contents.length > 1 ? contents.slice(0, 2).map((some) => some[0]) : group.rows.slice(0, 2);
  const others = group.rows.filter((row) => !shown.includes(row));
  const item = make("li", { class: "card", id: `group-${group.rows[0]}` },
    make("header", null, make("b", null, many(group.rows.length, "picture")),
      make("span", { class: "soft" }, contents.length === 1 ? "identical files" : `cosine ${cosine(group.lowest)}`),
      make("span", { class: "soft frees" }, `frees ${bytes(group.frees)}`)),
    make("div", { class: "pair" }, ...shown.map((row) => make("figure", null, pictureButton(row),
      make("figcaption", null, named(nameOf(row), pathOf(row), "b"), make("span", { class: "soft" }, `${describe(row)} `, tag(group, row)))))));
  if (others.length) {
    item.append(make("details", { class: "others", open: others.length <= 4 }, make("summary", null, `${many(others.length, "more file")}`),
      make("ul", null, ...others.slice(0, 200).map((row) => make("li", null, make("button", { type: "button", title: pathOf(row), onclick: () => visit(row) }, thumbnail(row)),
        make("span", { class: "lines" }, named(nameOf(row), pathOf(row)), make("span", { class: "soft" }, describe(row))), tag(group, row)))),
      others.length > 200 ? make("p", { class: "soft" }, `and ${count(others.length - 200)} more`) : null));
  }
  return item;
}
function tag(group, row) {
  const text = tagOf(group, row);
  return make("span", { class: `tag ${text === "best" ? "best" : ""}` }, text);
}
/* Goes to the card of a row's group. */
function showGroup(row) {
  const group = groupOf(row);
  while (cardsShown <= groups.indexOf(group)) cardsShown += BATCH;
  drawCards();
  byId(`group-${group.rows[0]}`).scrollIntoView({ block: "center" });
}

function startDuplicates() {
  if (!duplicates) {
    byId("duplicates").hidden = false;
    byId("duplicates-tools").hidden = true;
    byId("duplicates-note").textContent = `Not searched for among more than ${many(facts.duplicates_limit, "row")}; fvcli duplicates does it.`;
    return;
  }
  if (!duplicates.links.length) return;
  byId("duplicates").hidden = false;
  byId("duplicates-note").textContent = duplicates.left_out ? `The largest groups: ${count(duplicates.left_out)} more pictures are left out of this page.` : "";
  byId("duplicates-note").hidden = !duplicates.left_out;
  const slider = byId("threshold");
  slider.min = String(Math.min(duplicates.lowest, duplicates.threshold));
  slider.max = String(IDENTICAL);
  slider.value = String(duplicates.threshold);
  let waiting = 0;
  slider.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(regroup);
  });
  byId("cards-more").addEventListener("click", () => { cardsShown += BATCH; drawCards(); });
  const withList = (use) => () => {
    const format = byId("list-format").value, list = listed(groups, format);
    const left = list.left ? `; ${many(list.left, "name")} cannot be in this format, the script has ${list.left === 1 ? "it" : "them"}` : "";
    use(list.text, `${many(list.files, "file")}${left}`, format);
  };
  byId("list-copy").addEventListener("click", withList((text, said) => copy(text, `Copied: ${said}`)));
  byId("list-save").addEventListener("click", withList((text, said, format) => {
    save(format === "script" ? "move-smaller.sh" : "smaller.txt", text);
    toast(`Saved: ${said}`);
  }));
  regroup();
}
