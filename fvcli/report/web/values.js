/* The facts, and how values become text and elements. */
const facts = JSON.parse(document.getElementById("facts").textContent);
const summary = facts.summary;

const byId = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const many = (number, one, more) => `${count(number)} ${number === 1 ? one : more || one + "s"}`;

/* Everything becomes a text node: no name is ever read as HTML. */
function make(tag, options, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(options || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
const fill = (id, ...children) => byId(id).replaceChildren(...children.filter(Boolean));
const button = (label, onclick, options) => make("button", { type: "button", onclick, ...options }, label);

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (value >= 999.5 && power < units.length - 1) {
    value /= 1000;
    power += 1;
  }
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
  return date.toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
}
const percent = (share) => `${share > 0 && share < 0.001 ? "under 0.1" : Number((share * 100).toPrecision(share < 0.1 ? 2 : 3))} %`;
const cosine = (score) => (score >= 0.9995 && score < 1 - 5e-6 ? score.toFixed(5) : score.toFixed(3));
const rate = (value) => (value < 10 ? value.toFixed(1) : count(Math.round(value)));

/* Base64 of little-endian numbers, as facts.py packs them. */
function unpack(text, Type) {
  const raw = atob(text);
  const data = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) data[i] = raw.charCodeAt(i);
  return new Type(data.buffer);
}

/* A name on one line that loses its middle where there is no room: the end often tells two files apart. */
function named(text, title, tag = "span") {
  const tail = text.length > 18 ? 11 : 0;
  const head = make("span", { class: "head" }, tail ? text.slice(0, -tail) : text);
  return make(tag, { class: "name", dir: "auto", title: title || text }, head, tail ? make("span", { class: "tail" }, text.slice(-tail)) : null);
}

/* Reports an action in a line that goes away. */
let toastTimer = 0;
function toast(text) {
  const line = byId("toast");
  line.textContent = text;
  line.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { line.hidden = true; }, 3500);
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    toast(document.execCommand("copy") ? done : "The browser does not allow copying.");
    area.remove();
  }
}
