/* The sections below: outliers, clusters, extremes, failures, files passed over. */

function strip(id, odd, said) {
  if (!odd.length) return null;
  return fill(id, ...odd.map((one) => make("li", null, make("figure", null, pictureButton(one.row, said(one)),
    make("figcaption", null, named(nameOf(one.row), pathOf(one.row)))))));
}

function startOutliers() {
  if (rows.count < 16) return;
  byId("outliers").hidden = !facts.extremes.outliers.length;
  strip("outliers-list", facts.extremes.outliers, (one) => one.value);
}

function startClusters() {
  if (!facts.clusters.length) return;
  byId("clusters").hidden = false;
  byId("clusters-note").textContent = `Groups of similar vectors (k-means), with the pictures nearest to each center${labels ? ", named by their most telling labels" : ""}.`;
  fill("clusters-list", ...facts.clusters.map((cluster, number) => {
    const swatch = make("i", { class: "swatch" });
    swatch.style.background = colorOf(number);
    const open = () => {
      colorBy(groupings.find((one) => one.name === "cluster"));
      only(number);
      byId("look").scrollIntoView();
    };
    return make("li", null,
      make("header", null, swatch, named(cluster.name, cluster.name, "h3"),
        make("span", { class: "soft" }, `${percent(cluster.count / rows.count)} · ${many(cluster.count, "picture")}`), button("Show", open, { class: "quiet" })),
      cluster.folder ? make("p", { class: "soft" }, "mostly in ", named(cluster.folder)) : null,
      make("div", { class: "six" }, ...cluster.typical.map((row) => pictureButton(row))));
  }));
}

function startExtremes() {
  const ratio = (value) => (value >= 1 ? `${Number(value.toPrecision(3))} : 1` : `1 : ${Number((1 / value).toPrecision(3))}`);
  const size = (one) => `${widthOf(one.row)} × ${heightOf(one.row)}`;
  const parts = [
    ["Darkest", wall && !wall.all ? "Of the pictures on the wall, by mean lightness." : "By mean lightness.", facts.extremes.darkest, (one) => percent(one.value)],
    ["Smallest", "Fewest pixels.", facts.extremes.smallest, size],
    ["Oddest shapes", "Width to height.", facts.extremes.shapes, (one) => ratio(one.value)],
  ].filter(([, , odd]) => odd.length && rows.count >= 16);
  byId("extremes").hidden = !parts.length;
  byId("extremes-list").replaceChildren(...parts.map(([title, note, odd, said]) => make("div", { class: "extreme" },
    make("h3", null, title, make("span", { class: "soft" }, note)), make("ol", { class: title === "Oddest shapes" ? "strip whole" : "strip" },
      ...odd.map((one) => make("li", null, make("figure", null, pictureButton(one.row, said(one)), make("figcaption", null, named(nameOf(one.row), pathOf(one.row))))))))));
}

const STAGES = { read: "while reading the file", decode: "while decoding the image", fit: "while scaling it", crash: "the process died" };
function startFailures() {
  if (!facts.failures.length) return;
  byId("failures").hidden = false;
  const rest = facts.failure_kinds - facts.failures.length;
  byId("failures-note").textContent = `${many(summary.failed, "input")} without a vector, by reason.${rest > 0 ? ` ${many(rest, "rarer reason")} left out.` : ""} The dataset's failures folder names them all.`;
  const whole = (input) => (input.folder ? `${input.folder.replace(/\/+$/, "")}/${input.name}` : input.name);
  const words = (error) => error.replace(/([a-z])([A-Z])/g, (_, before, after) => `${before} ${after.toLowerCase()}`);
  fill("failures-kinds", ...facts.failures.map((kind, place) => {
    const more = kind.count - kind.inputs.length;
    return make("details", { class: "kind", open: kind.count <= (place ? 5 : 12) },
      make("summary", null, make("span", { class: "number" }, count(kind.count)), make("b", null, words(kind.error)), make("span", { class: "soft" }, STAGES[kind.stage] || kind.stage)),
      make("ul", null, ...kind.inputs.map((input) => make("li", null, named(whole(input)), make("span", { class: "soft", dir: "auto" }, input.message))),
        more ? make("li", { class: "soft" }, `and ${count(more)} more`) : null));
  }));
}

function startPassedOver() {
  byId("passed-over").hidden = !summary.passed_over.length;
  fill("passed-list", ...summary.passed_over.map(([kind, number]) => make("li", null, make("b", null, count(number)), named(kind))));
}
