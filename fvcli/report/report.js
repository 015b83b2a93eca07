"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const items = facts.items;
  const byId = (id) => document.getElementById(id);
  const count = (number) => number.toLocaleString("en");
  const many = (number, one, more) => `${count(number)} ${number === 1 ? one : more || one + "s"}`;

  /* Everything becomes a text node: no name is ever read as HTML. */
  function make(tag, options, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(options || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") element.className = value;
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }
  const fill = (id, ...children) => byId(id).replaceChildren(...children.filter(Boolean));

  function bytes(value) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let power = 0;
    while (value >= 999.5 && power < units.length - 1) { value /= 1000; power += 1; }
    return `${Number(value.toPrecision(3))} ${units[power]}`;
  }
  function duration(seconds) {
    if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }
  function when(text) {
    const date = new Date(text);
    if (Number.isNaN(date.getTime())) return text;
    return date.toLocaleString("en-GB", { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit" });
  }
  const percent = (share) => `${share > 0 && share < .001 ? "under 0.1" : Number((share * 100).toPrecision(share < .1 ? 2 : 3))} %`;
  const cosine = (score) => (score >= .9995 && score < 1 - 5e-6 ? score.toFixed(5) : score.toFixed(3));
  const bare = (item) => (facts.summary.roots.length > 1 ? whole(item) : item.name);
  const base = (name) => name.replace(/\/+$/, "").split("/").pop() || name;
  const whole = (item) => (item.folder ? `${item.folder.replace(/\/+$/, "")}/${item.name}` : item.name);
  const named = (text, title) => make("span", { class: "name", dir: "auto", title }, text);

  const STATES = {
    gone: "file is gone",
    changed: "file has changed since",
    unreadable: "file cannot be read now",
    "left out": "picture left out",
    off: "no picture",
  };
  function picture(item) {
    if (item.state !== "shown") return make("div", { class: "picture none" }, STATES[item.state]);
    return make("div", { class: "picture" }, make("img", { src: item.picture, alt: item.name, decoding: "async" }));
  }
  function tile(index, score) {
    const item = items[index];
    return make("figure", { class: "tile", title: whole(item) }, picture(item),
      make("figcaption", null, score === undefined ? "" : make("span", { class: "score" }, cosine(score)), named(base(item.name))));
  }
  const describe = (item) => `${item.width} × ${item.height} · ${bytes(item.bytes)} · ${item.format}${item.odd_name ? " · name is not UTF-8" : ""}`;

  /* Summary */
  const summary = facts.summary;
  function summarise() {
    byId("name").textContent = summary.name;
    const place = summary.roots.length === 1 ? summary.roots[0] : summary.roots.length ? many(summary.roots.length + summary.roots_left_out, "folder") : "listed files";
    fill("lead", `${many(summary.rows, "image")} from `, named(place), ` as vectors of ${count(summary.dimension)} numbers`, summary.extracted_at ? `, ${when(summary.extracted_at)}` : "");
    const figure = (name, value, more, href) => make("div", null, make("dt", null, name),
      make("dd", null, make("div", { class: "value" }, value), make("div", { class: "more" }, href ? make("a", { href }, more) : more)));
    const duplicates = facts.duplicates;
    fill("figures",
      figure("Rows", count(summary.rows), summary.stale ? `${count(summary.stale)} of files that are gone` : `of ${many(summary.discovered, "input")}`),
      figure("Failures", count(summary.failed), summary.failed ? `${percent(summary.failed / Math.max(1, summary.discovered))} of the inputs` : "every input has a vector", summary.failed ? "#failures" : null),
      duplicates ? figure("Near-duplicates", count(duplicates.rows), duplicates.found ? `in ${many(duplicates.found, "group")}` : `none at ${duplicates.threshold}`, duplicates.found ? "#duplicates" : null) : null,
      summary.images_per_second ? figure("Images a second", summary.images_per_second < 10 ? summary.images_per_second.toFixed(1) : count(Math.round(summary.images_per_second)), `last run, ${duration(summary.seconds)}`) : null,
      figure("On disk", bytes(summary.bytes), many(summary.shards, "data file")));
    const lost = {};
    for (const item of items) if (item.state !== "shown") lost[item.state] = (lost[item.state] || 0) + 1;
    const words = [];
    if (lost.gone) words.push(`${many(lost.gone, "file")} not found (names are relative to the folder where extract ran)`);
    if (lost.changed) words.push(`${many(lost.changed, "file")} changed since`);
    if (lost.unreadable) words.push(`${many(lost.unreadable, "file")} not readable now`);
    if (lost["left out"]) words.push(`${count(lost["left out"])} left out to keep this page small`);
    if (words.length) {
      const without = items.filter((item) => item.state !== "shown" && item.state !== "off").length;
      byId("notice").hidden = false;
      byId("notice").textContent = `No picture of ${count(without)} of the ${many(items.length, "image")} shown here: ${words.join(", ")}.`;
    }
  }

  /* Neighbours */
  function neighbours() {
    if (!facts.neighbours.length) return;
    byId("neighbours").hidden = false;
    byId("neighbours-note").textContent = `${many(facts.neighbours.length, "image")} chosen at random (seed ${facts.seed}), each with the images nearest to it in the whole dataset, by cosine.`;
    fill("neighbours-rows", ...facts.neighbours.map((row) => make("li", null, make("div", { class: "query" }, tile(row.item)),
      make("ol", { class: "tiles", "aria-label": `Nearest to ${items[row.item].name}` }, ...row.neighbours.map((one) => make("li", null, tile(one.item, one.score)))))));
  }

  /* Near-duplicates */
  function duplicates() {
    const found = facts.duplicates;
    const note = byId("duplicates-note");
    if (!found) {
      note.textContent = `Not searched for among more than ${many(facts.duplicates_limit, "row")}; fvcli neighbors --duplicates does it.`;
      return;
    }
    const shown = found.groups.length < found.found ? ` The ${found.groups.length} largest are shown.` : "";
    note.textContent = found.found
      ? `${many(found.found, "group")} of images whose cosine to another of the group is at least ${found.threshold}.${shown}`
      : `No two images have a cosine of ${found.threshold} or more.`;
    fill("duplicates-groups", ...found.groups.map((group) => {
      const more = group.size - group.items.length;
      return make("li", null,
        make("h3", null, many(group.size, "image"), make("span", null, group.identical ? "the same file content" : `cosine ${cosine(group.lowest)} and up`)),
        make("div", { class: "tiles", "aria-hidden": "true" }, ...group.items.map((item) => make("div", { title: whole(items[item]) }, picture(items[item])))),
        make("ul", null, ...group.items.map((item) => make("li", null, named(bare(items[item]), whole(items[item])))), more ? make("li", { class: "more" }, `and ${count(more)} more`) : null));
    }));
  }

  /* Failures */
  function failures() {
    const note = byId("failures-note");
    if (!facts.failures.length) {
      note.textContent = "None: every input has a vector.";
      return;
    }
    const rest = facts.failure_kinds - facts.failures.length;
    note.textContent = `${many(summary.failed, "input")} without a vector, by reason.${rest > 0 ? ` ${many(rest, "rarer reason")} left out.` : ""} All are named in the dataset's failures folder.`;
    const stages = { read: "while reading the file", decode: "while decoding the image", fit: "while scaling it", crash: "the process died" };
    fill("failures-kinds", ...facts.failures.map((kind, place) => {
      const more = kind.count - kind.inputs.length;
      return make("details", { class: "kind", open: place === 0 || kind.count <= 5 },
        make("summary", null, make("span", { class: "count" }, count(kind.count)), make("b", null, kind.error.replace(/([a-z])([A-Z])/g, (_, before, after) => `${before} ${after.toLowerCase()}`)), make("span", { class: "stage" }, stages[kind.stage] || kind.stage)),
        make("ul", null, ...kind.inputs.map((input) => make("li", null, named(bare(input), whole(input)), make("span", { dir: "auto" }, input.message))),
          more ? make("li", { class: "more" }, `and ${count(more)} more`) : null));
    }));
  }

  /* Histograms */
  function histograms() {
    if (!facts.histograms.length) return;
    byId("sizes").hidden = false;
    fill("histograms", ...facts.histograms.map((chart) => {
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
          ...chart.bars.flatMap((one) => [make("span", { class: "name" }, one.label), bar(one), make("span", { class: "count" }, count(one.count))])));
      }
      const edges = chart.edges.map(([at, text]) => {
        const element = make("span", null, text);
        element.style.left = `${at * 100}%`;
        if (at > .97) element.style.transform = "translateX(-100%)";
        if (at < .03) element.style.transform = "none";
        return element;
      });
      return make("div", { class: "histogram" }, ...head,
        make("div", { class: "bars", role: "img", "aria-label": said }, ...chart.bars.map(bar)), make("div", { class: "edges", "aria-hidden": "true" }, ...edges));
    }));
  }

  /* How it was made */
  function details() {
    const pairs = (id, values) => fill(id, ...values.filter((pair) => pair[1] !== "" && pair[1] !== null).flatMap(([name, value]) => [make("dt", null, name), make("dd", null, value)]));
    const hash = (text) => (text ? make("code", { title: text }, text.length > 16 ? `${text.slice(0, 16)}…` : text) : "");
    pairs("recipe", [["model", summary.model], ["identity", hash(summary.identity)], ["licence", summary.licence], ...summary.recipe]);
    pairs("data", [["dataset", named(summary.folder)], ["format", `${summary.format}, ${summary.dtype} × ${count(summary.dimension)}`], ["size", `${bytes(summary.bytes)} in ${many(summary.shards, "file")}`],
      ...summary.roots.map((root, place) => [place ? "\u00a0" : summary.roots.length > 1 ? "sources" : "source", named(root)]), ["\u00a0", summary.roots_left_out ? `and ${count(summary.roots_left_out)} more` : ""],
      ["passed over", summary.passed_over.map(([kind, number]) => `${count(number)} ${kind}`).join(", ")]]);
    pairs("software", summary.environment);
    const cell = (value) => make("td", null, value);
    fill("runs", make("thead", null, make("tr", null, ...["Started", "Seconds", "Extracted", "Reused", "Failed", "Rows after"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", null, ...facts.runs.map((run) => make("tr", null, cell(when(run.started)), cell(run.seconds.toFixed(1)), ...[run.extracted, run.reused, run.failed, run.rows].map((number) => cell(count(number)))))));
    fill("footer", `Made by fvcli ${facts.version} on ${when(facts.made_at)}. This file holds everything it shows and loads nothing.`);
    const links = [["map", "Map"], ["neighbours", "Neighbours"], ["failures", "Failures"], ["sizes", "Sizes"], ["duplicates", "Near-duplicates"], ["details", "Details"]];
    fill("contents", ...links.filter(([id]) => !byId(id).hidden).map(([id, text]) => make("a", { href: `#${id}` }, text)));
  }

  /* Map. The axes fill the plane, but one is never drawn at more than STRETCH times the other's scale. */
  const STRETCH = 1.9;
  function map() {
    const plan = facts.map;
    if (!plan) return null;
    byId("map").hidden = false;
    const raw = atob(plan.points);
    const total = raw.length / 4;
    const xs = new Float32Array(total);
    const ys = new Float32Array(total);
    const aspect = Math.max(plan.aspect, 1e-6);
    for (let i = 0; i < total; i += 1) {
      const at = i * 4;
      xs[i] = (raw.charCodeAt(at) | (raw.charCodeAt(at + 1) << 8)) / 65535;
      ys[i] = (raw.charCodeAt(at + 2) | (raw.charCodeAt(at + 3) << 8)) / 65535;
    }
    /* What the points fill: the longer side is 1. */
    const wide = Math.min(1, 1 / aspect), high = Math.min(1, aspect);
    const isNamed = new Uint8Array(total);
    for (const [point] of plan.named) isNamed[point] = 1;
    const all = plan.named.length === total;
    byId("map-note").textContent = `The vectors' two principal components, ${percent(plan.explained[0] + plan.explained[1])} of their variance: near each other means alike as far as two directions can tell. ` +
      (plan.drawn < plan.rows ? `${count(plan.drawn)} of ${count(plan.rows)} rows, chosen at random. ` : "") +
      (all ? "" : `${count(plan.named.length)} dots, spread over the map, can be pointed at; the fainter ones cannot.`);

    const canvas = byId("canvas"), card = byId("card"), plane = byId("plane"), find = byId("find");
    canvas.setAttribute("aria-label", `Map of ${many(total, "image")}`);
    const below = document.createElement("canvas");
    const context = canvas.getContext("2d"), under = below.getContext("2d");
    const view = { x: wide / 2, y: high / 2, zoom: 1 };
    let width = 0, height = 0, scale = 1, tall = 1, current = -1, mode = "dots", needle = "", matches = null, laid = null, waiting = 0;
    const images = new Map();

    const left = (i) => (xs[i] - view.x) * scale + width / 2;
    const top = (i) => (view.y - ys[i]) * tall + height / 2;

    function resize() {
      const ratio = Math.min(window.devicePixelRatio || 1, 3);
      width = plane.clientWidth;
      const shape = width < 600 ? 1 : .58;
      height = Math.round(Math.min(width * shape, Math.max(360, window.innerHeight - 220)));
      canvas.style.height = `${height}px`;
      if (!width) return; // not laid out yet; the observer calls again
      for (const each of [canvas, below]) {
        each.width = Math.round(width * ratio);
        each.height = Math.round(height * ratio);
        each.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
      }
      draw();
    }
    function fit() {
      const margin = Math.min(28, width * .05);
      const across = (width - 2 * margin) / Math.max(wide, 1e-6), down = (height - 2 * margin) / Math.max(high, 1e-6);
      scale = Math.min(across, down * STRETCH) * view.zoom;
      tall = Math.min(down, across * STRETCH) * view.zoom;
      canvas.classList.toggle("zoomed", view.zoom > 1);
    }
    function colours() {
      const style = getComputedStyle(canvas);
      return { ink: style.color, accent: style.caretColor, faint: style.borderTopColor, ground: style.backgroundColor };
    }
    function image(index) {
      let found = images.get(index);
      if (!found) {
        found = new Image();
        found.onload = later;
        found.src = items[index].picture;
        images.set(index, found);
      }
      return found.complete && found.naturalWidth ? found : null;
    }
    function later() {
      if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; draw(); });
    }

    /* Everything but the marked image, onto a canvas of its own, so that pointing redraws none of it. */
    function draw() {
      fit();
      const paint = colours();
      const radius = size();
      const dot = (i, r) => { under.beginPath(); under.arc(left(i), top(i), r, 0, 7); under.fill(); };
      const seen = (i) => { const x = left(i), y = top(i); return x > -9 && y > -9 && x < width + 9 && y < height + 9; };
      laid = mode === "pictures" ? cells() : null;
      under.clearRect(0, 0, width, height);
      under.fillStyle = paint.ink;
      if (!all) {
        under.globalAlpha = laid || matches ? .08 : total > 20000 ? .2 : .28;
        const side = Math.max(1, radius * 1.3);
        for (let i = 0; i < total; i += 1) if (!isNamed[i] && seen(i)) under.fillRect(left(i) - side / 2, top(i) - side / 2, side, side);
      }
      under.globalAlpha = laid || matches ? .16 : .62;
      for (const [point] of plan.named) if (seen(point)) dot(point, radius);
      under.globalAlpha = 1;
      if (laid) mosaic(paint);
      if (matches) {
        under.fillStyle = paint.accent;
        for (const place of matches) dot(plan.named[place][0], radius + 1.2);
      }
      mark(paint);
    }
    const size = () => Math.max(1.3, Math.min(3.4, 90 / Math.sqrt(total))) * Math.min(1.8, Math.sqrt(view.zoom));

    function mark(paint = colours()) {
      if (!below.width) return;
      context.clearRect(0, 0, width, height);
      context.drawImage(below, 0, 0, width, height);
      if (current < 0) return;
      const [point] = plan.named[current];
      const cell = laid && laid.found.get(laid.key(left(point), top(point)));
      if (cell && cell.place === current) {
        context.strokeStyle = paint.accent;
        context.lineWidth = 3;
        context.strokeRect(cell.x + 1.5, cell.y + 1.5, laid.side - 3, laid.side - 3);
        return;
      }
      context.fillStyle = paint.accent;
      context.strokeStyle = paint.ground;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(left(point), top(point), size() + 3, 0, 7);
      context.fill();
      context.stroke();
    }

    /* One picture for each square of a grid that has any: of what matches if something is looked for. */
    function cells() {
      const side = width / Math.max(1, Math.round(width / (width < 600 ? 36 : 48)));
      const rows = Math.max(1, Math.floor(height / side)), above = (height - rows * side) / 2;
      const column = (x) => Math.floor(x / side), row = (y) => Math.min(rows - 1, Math.max(0, Math.floor((y - above) / side)));
      const key = (x, y) => row(y) * 4096 + column(x);
      const found = new Map();
      for (const place of matches || plan.named.keys()) {
        const [point, index] = plan.named[place];
        if (items[index].state !== "shown") continue;
        const x = left(point), y = top(point);
        if (x < 0 || y < 0 || x >= width || y >= height) continue;
        const cell = { place, index, x: column(x) * side, y: above + row(y) * side };
        cell.far = (x - cell.x - side / 2) ** 2 + (y - cell.y - side / 2) ** 2;
        const before = found.get(key(x, y));
        if (!before || cell.far < before.far) found.set(key(x, y), cell);
      }
      return { side, key, found };
    }
    function mosaic(paint) {
      const inner = laid.side - 3;
      for (const cell of laid.found.values()) {
        const loaded = image(cell.index);
        if (loaded) {
          const square = Math.min(loaded.naturalWidth, loaded.naturalHeight);
          under.drawImage(loaded, (loaded.naturalWidth - square) / 2, (loaded.naturalHeight - square) / 2, square, square, cell.x + 1.5, cell.y + 1.5, inner, inner);
        } else {
          under.fillStyle = paint.faint;
          under.globalAlpha = .3;
          under.fillRect(cell.x + 1.5, cell.y + 1.5, inner, inner);
          under.globalAlpha = 1;
        }
      }
    }

    function nearest(x, y, reach) {
      const cell = laid && laid.found.get(laid.key(x, y));
      if (cell) return cell.place;
      let best = -1, least = reach * reach;
      plan.named.forEach(([point], place) => {
        const far = (left(point) - x) ** 2 + (top(point) - y) ** 2;
        if (far < least) { least = far; best = place; }
      });
      return best;
    }
    function show(place, spoken) {
      if (place === current && !spoken) return;
      current = place;
      mark();
      if (place < 0) { card.hidden = true; return; }
      const [point, index] = plan.named[place];
      const item = items[index];
      card.replaceChildren(picture(item), named(item.name), make("div", null, describe(item)));
      card.hidden = false;
      const x = left(point), y = top(point), w = card.offsetWidth, h = card.offsetHeight;
      const gap = mode === "pictures" ? 52 : 14;
      const across = x + gap + w <= width ? x + gap : Math.max(0, x - gap - w);
      card.style.left = `${Math.max(0, Math.min(across, width - w))}px`;
      card.style.top = `${Math.max(4, Math.min(y - h / 2, height - h - 4))}px`;
      if (spoken) byId("said").textContent = `${item.name}, ${item.width} by ${item.height}${item.state === "shown" ? "" : `, ${STATES[item.state]}`}`;
    }
    function step(across, up) {
      if (current < 0) { show(nearest(width / 2, height / 2, Infinity), true); return; }
      const [from] = plan.named[current];
      let best = -1, least = Infinity;
      plan.named.forEach(([point], place) => {
        if (place === current) return;
        const dx = left(point) - left(from), dy = top(from) - top(point);
        const along = dx * across + dy * up, aside = Math.abs(dx * up) + Math.abs(dy * across);
        if (along <= 0) return;
        const far = along + aside * 3;
        if (far < least) { least = far; best = place; }
      });
      if (best < 0) return;
      const [point] = plan.named[best];
      if (left(point) < 0 || left(point) > width || top(point) < 0 || top(point) > height) { view.x = xs[point]; view.y = ys[point]; keep(); draw(); }
      show(best, true);
    }
    function zoom(factor, x = width / 2, y = height / 2) {
      const before = scale, beforeTall = tall, was = view.zoom;
      view.zoom = Math.min(64, Math.max(1, view.zoom * factor));
      if (view.zoom === was) return;
      fit();
      view.x += (x - width / 2) * (1 / before - 1 / scale);
      view.y -= (y - height / 2) * (1 / beforeTall - 1 / tall);
      keep();
      const place = current;
      current = -1;
      draw();
      show(place);
    }
    function keep() {
      if (view.zoom === 1) { view.x = wide / 2; view.y = high / 2; }
      view.x = Math.min(wide, Math.max(0, view.x));
      view.y = Math.min(high, Math.max(0, view.y));
    }
    function reset() { view.zoom = 1; keep(); current = -1; card.hidden = true; draw(); }
    const spot = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      const [x, y] = spot(event);
      drag = view.zoom > 1 ? { x, y, moved: false } : null;
      if (drag) canvas.setPointerCapture(event.pointerId);
      if (event.pointerType !== "mouse") show(nearest(x, y, 28));
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = spot(event);
      if (drag && event.buttons) {
        canvas.classList.add("dragged");
        view.x -= (x - drag.x) / scale;
        view.y += (y - drag.y) / tall;
        drag.x = x; drag.y = y;
        keep();
        current = -1; card.hidden = true;
        later();
      } else show(nearest(x, y, 22));
    });
    const release = () => { drag = null; canvas.classList.remove("dragged"); };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", (event) => { if (!drag && event.pointerType === "mouse") show(-1); });
    canvas.addEventListener("dblclick", (event) => zoom(2, ...spot(event)));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? .05 : .004)), ...spot(event));
    }, { passive: false });
    canvas.addEventListener("blur", () => show(-1));
    const keys = { ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, 1), ArrowDown: () => step(0, -1), "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: reset, Escape: () => show(-1) };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
      event.preventDefault();
      keys[event.key]();
    });
    byId("zoom-in").addEventListener("click", () => zoom(1.5));
    byId("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
    byId("zoom-all").addEventListener("click", reset);
    for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", () => { mode = radio.value; draw(); });
    find.addEventListener("input", () => {
      needle = find.value.trim().toLocaleLowerCase();
      matches = needle ? [...plan.named.keys()].filter((place) => whole(items[plan.named[place][1]]).toLocaleLowerCase().includes(needle)) : null;
      byId("found").textContent = matches ? (matches.length ? many(matches.length, "image") : "nothing") : "";
      draw();
    });
    new ResizeObserver(() => { if (plane.clientWidth !== width) { card.hidden = true; current = -1; resize(); } }).observe(plane);
    if (!items.some((item) => item.state === "shown")) document.querySelector(".choice").hidden = true;
    resize();
    return draw;
  }

  function theme(redraw) {
    const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
    byId("theme").addEventListener("click", () => {
      const now = root.dataset.theme || (dark.matches ? "dark" : "light");
      root.dataset.theme = now === "dark" ? "light" : "dark";
      redraw();
    });
    dark.addEventListener("change", redraw);
    matchMedia("print").addEventListener("change", redraw);
    let opened = [];
    addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("details:not([open])")];
      for (const one of opened) one.open = true;
      redraw();
    });
    addEventListener("afterprint", () => { for (const one of opened) one.open = false; redraw(); });
  }

  summarise();
  neighbours();
  duplicates();
  failures();
  histograms();
  const redraw = map() || (() => {});
  details();
  theme(redraw);
  document.documentElement.dataset.ready = "yes";
})();
