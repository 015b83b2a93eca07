/* Find: rows whose path or label holds the text, listed in the panel and lit on the stage. */
const LISTED = 100;
let haystack = null;

function searchable() {
  if (!haystack) {
    haystack = new Array(rows.count);
    for (let row = 0; row < rows.count; row += 1) {
      haystack[row] = [pathOf(row), ...labelsOf(row).slice(0, 1).map((one) => one.name)].join("\n").toLocaleLowerCase();
    }
  }
  return haystack;
}

function find(text) {
  const needle = text.trim().toLocaleLowerCase();
  state.selected = -1;
  state.matches = null;
  if (needle) {
    state.matches = new Set();
    searchable().forEach((line, row) => { if (line.includes(needle)) state.matches.add(row); });
  }
  light();
  if (needle) showResults();
  else overview();
  redraw();
}

function showResults() {
  const found = [...state.matches];
  const all = rows.count < summary.rows ? ` among ${count(rows.count)} of ${count(summary.rows)} rows` : "";
  show("results",
    make("div", { class: "title" }, make("h2", { id: "found", role: "status" }, `${found.length ? many(found.length, "picture") : "Nothing"} found${all}`),
      button("×", clearFind, { class: "close", "aria-label": "Clear" })),
    make("ul", { class: "results" }, ...found.slice(0, LISTED).map((row) => make("li", null,
      make("button", { type: "button", onclick: () => select(row), title: pathOf(row) }, thumbnail(row),
        make("span", { class: "lines" }, named(nameOf(row)), make("span", { class: "soft" }, named(rows.folders[folderOf[row]].replace(/\/$/, "") || describe(row)))))))),
    found.length > LISTED ? make("p", { class: "note" }, `and ${count(found.length - LISTED)} more; type on to narrow it down`) : null);
}
function thumbnail(row) {
  if (hasTile(row)) return mini(row);
  const source = previewOf(row);
  return source ? make("img", { src: source, alt: "", loading: "lazy" }) : make("span", { class: "blank", "aria-hidden": "true" });
}
function clearFind() {
  byId("find").value = "";
  find("");
}

function startFind() {
  const input = byId("find");
  input.addEventListener("input", () => find(input.value));
  input.addEventListener("keydown", (event) => {
    const results = panel.querySelectorAll(".results button");
    if (event.key === "ArrowDown" && results.length) results[0].focus();
    else if (event.key === "Enter" && results.length) results[0].click();
    else return;
    event.preventDefault();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const results = [...panel.querySelectorAll(".results button")], at = results.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    if (next < 0) input.focus();
    else if (results[next]) results[next].focus();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=search], select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "Escape") {
      if (state.selected >= 0) close();
      else if (state.matches) clearFind();
      else if (state.cursor >= 0) { state.cursor = -1; redraw(false); }
    }
  });
}
