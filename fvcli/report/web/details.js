/* The head and the end of the page: title, chips, histograms, provenance. */

function startHead() {
  byId("title").replaceChildren(named(summary.title, summary.title));
  const folders = summary.roots.length + summary.roots_left_out;
  const place = folders > 1 ? ` in ${many(folders, "folder")}` : "";
  fill("lead", `${many(summary.rows, "picture")}${place}${summary.extracted_at ? ` · ${when(summary.extracted_at)}` : ""}`);
  const chip = (href, warn, ...parts) => make("a", { class: `chip${warn ? " warn" : ""}`, href }, ...parts);
  const passed = summary.passed_over;
  const passedText = passed.length === 1 ? ` ${passed[0][0]} passed over` : " files passed over";
  const frees = groups.reduce((sum, group) => sum + group.frees, 0);
  fill("chips",
    chip("#details", false, make("b", null, count(summary.rows)), summary.rows === 1 ? " vector" : " vectors"),
    passed.length ? chip("#passed-over", true, make("b", null, count(passed.reduce((sum, one) => sum + one[1], 0))), passedText) : null,
    summary.failed ? chip("#failures", true, make("b", null, count(summary.failed)), ` failed`) : null,
    summary.stale ? chip("#details", true, make("b", null, count(summary.stale)), ` of files that are gone`) : null,
    groups.length ? chip("#duplicates", false, make("b", null, count(groups.length)), ` near-duplicate ${groups.length === 1 ? "group" : "groups"}`, " · ", make("b", null, bytes(frees)), " to reclaim") : null,
    summary.images_per_second ? chip("#details", false, make("b", null, rate(summary.images_per_second)), " images/s") : null);
}

function startNotice() {
  const lost = {}, states = [...(wall ? wall.states : []), ...facts.extras.map((one) => one.state)];
  for (const one of states) lost[one] = (lost[one] || 0) + 1;
  const words = [];
  if (lost.gone) words.push(`${many(lost.gone, "file")} not found (paths are relative to the folder where extract ran)`);
  if (lost.changed) words.push(`${many(lost.changed, "file")} changed since`);
  if (lost.unreadable) words.push(`${many(lost.unreadable, "file")} not readable now`);
  if (lost["left out"]) words.push(`${count(lost["left out"])} left out to keep this page small`);
  if (lost.off) words.push("the page was made without pictures");
  byId("notice").hidden = !words.length;
  byId("notice").textContent = `No picture of ${count(states.filter((one) => one !== "shown").length)} of the ${many(states.length, "image")} shown here: ${words.join(", ")}.`;
}

function histogram(chart) {
  const most = Math.max(...chart.bars.map((bar) => bar.count), 1);
  const all = chart.bars.reduce((sum, bar) => sum + bar.count, 0);
  const said = `${chart.title}: ${chart.note}. ` + chart.bars.filter((bar) => bar.count).map((bar) => `${bar.label}: ${bar.count}`).join("; ");
  const bar = (one) => {
    const element = make("i", { class: one.count ? "some" : "", title: `${one.label}: ${many(one.count, "image")}, ${percent(one.count / all)}` });
    element.style.setProperty("--share", `${(one.count / most) * 100}%`);
    return element;
  };
  const head = [make("h3", null, chart.title), make("p", { class: "note" }, chart.note)];
  if (!chart.edges.length) {
    return make("div", { class: "histogram" }, ...head, make("div", { class: "kinds" },
      ...chart.bars.flatMap((one) => [make("span", null, one.label), bar(one), make("span", { class: "number" }, count(one.count))])));
  }
  const edges = chart.edges.map(([at, text]) => {
    const element = make("span", null, text);
    element.style.left = `${at * 100}%`;
    if (at > 0.97) element.style.transform = "translateX(-100%)";
    if (at < 0.03) element.style.transform = "none";
    return element;
  });
  return make("div", { class: "histogram" }, ...head,
    make("div", { class: "bars", role: "img", "aria-label": said }, ...chart.bars.map(bar)), make("div", { class: "edges", "aria-hidden": "true" }, ...edges));
}
function startHistograms() {
  byId("sizes").hidden = !facts.histograms.length;
  fill("histograms", ...facts.histograms.map(histogram));
}

function startDetails() {
  const pairs = (id, values) => fill(id, ...values.filter((pair) => pair[1] !== "" && pair[1] !== null).flatMap(([name, value]) => [make("dt", null, name), make("dd", null, value)]));
  const hash = (text) => (text ? make("code", { title: text }, text.length > 16 ? `${text.slice(0, 16)}…` : text) : "");
  pairs("recipe", [["model", summary.model], ["identity", hash(summary.identity)], ["license", summary.license], ...summary.recipe]);
  pairs("data", [["dataset", summary.folder], ["format", `${summary.format}, ${summary.dtype} × ${count(summary.dimension)}`], ["size", `${bytes(summary.bytes)} in ${many(summary.shards, "file")}`],
    ["inputs", `${count(summary.discovered)} in the last run`],
    ...summary.roots.map((root, place) => [place ? "\u00a0" : summary.roots.length > 1 ? "sources" : "source", root]), ["\u00a0", summary.roots_left_out ? `and ${count(summary.roots_left_out)} more` : ""],
    ["time", summary.seconds === null ? "" : duration(summary.seconds)]]);
  pairs("software", summary.environment);
  const cell = (value) => make("td", null, value);
  fill("runs", make("thead", null, make("tr", null, ...["Started", "Seconds", "Extracted", "Reused", "Failed", "Rows in total"].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", null, ...facts.runs.map((run) => make("tr", null, cell(when(run.started)), cell(run.seconds.toFixed(1)), ...[run.extracted, run.reused, run.failed, run.rows].map((number) => cell(count(number)))))));
  fill("footer", `Made by fvcli ${facts.version} on ${when(facts.made_at)}. This file holds everything it shows and loads nothing.`);
}

function startContents() {
  const links = [["look", "Wall"], ["duplicates", "Near-duplicates"], ["outliers", "Outliers"], ["clusters", "Clusters"], ["extremes", "Extremes"],
    ["failures", "Failures"], ["passed-over", "Passed over"], ["sizes", "Sizes and shapes"], ["details", "How it was made"]];
  fill("contents", ...links.filter(([id]) => !byId(id).hidden).map(([id, text]) => make("a", { href: `#${id}` }, text)));
  byId("contents").addEventListener("click", () => { byId("menu").open = false; });
  document.addEventListener("click", (event) => { if (!byId("menu").contains(event.target)) byId("menu").open = false; });
  /* A link to a folded section unfolds it. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const target = link && byId(link.getAttribute("href").slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  });
}
