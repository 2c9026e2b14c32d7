"use strict";
// Everything from the table is shown as text, never as HTML.
const { about, nuclei } = JSON.parse(document.getElementById("data").textContent);
const one = (id) => document.getElementById(id);
const NONE = about.none;
const KEY = "cellcycle-review:" + about.hash;
const NO_CLASS = "#8a919c";

const byRow = new Map(nuclei.map((n) => [n.row, n]));
const colourOf = (name) => about.colours[about.classes.indexOf(name)] || NO_CLASS;
const labelWords = (label) => (label === NONE ? "no nucleus" : label);
const whole = (share) => (share > 0 && share < 0.005 ? "<1" : share < 1 && share >= 0.995 ? ">99" : Math.round(100 * share));
const percent = (share) => (share === null ? "" : whole(share) + " %");
const counted = (n, singular, plural) => `${n} ${n === 1 ? singular : plural}`;
let labels = new Map(); // row -> class, or NONE
let nOthers = 0; // labels given earlier to nuclei that this page does not show
let shown = []; // the nuclei on the page, in order
let chosen = null;
let keeps = true;
const past = [];

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// ---- labels stored by the browser

const stored = () => JSON.parse(localStorage.getItem(KEY) || "{}");

function recall() {
  try {
    const kept = Object.entries(stored());
    const own = kept.filter(([row, label]) => byRow.has(Number(row)) && label in about.labels);
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(kept)));
    labels = new Map(own.map(([row, label]) => [Number(row), label]));
    nOthers = kept.length - own.length;
  } catch {
    keeps = false;
    note("This browser keeps nothing between visits: save labels.csv before you close the page.");
  }
}

// Change only this label: another tab, or a page with more nuclei of this table, may have stored others meanwhile.
function keep(row) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...stored(), [row]: labels.get(row) }));
  } catch {
    keeps = false;
  }
}

function note(text) {
  one("note").textContent = text;
  one("note").hidden = false;
}

// ---- cards

function card(nucleus) {
  const item = make("li", "card");
  item.id = "row" + nucleus.row;
  item.setAttribute("role", "option");
  const frame = make("div", "frame");
  const image = make("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = "";
  image.src = "data:image/jpeg;base64," + nucleus.picture;
  frame.append(image, mark(nucleus));
  const text = make("div", "text");
  const line = make("div", "line");
  const dot = make("span", "dot");
  dot.style.background = colourOf(nucleus.call);
  line.append(dot, make("b", "was", nucleus.call || "no call"), make("span", "sure", percent(nucleus.sure)));
  text.append(line, make("p", "label"), make("p", "why", nucleus.why));
  item.append(frame, text);
  nucleus.card = item;
  item.addEventListener("click", () => choose(nucleus, true));
  refresh(nucleus);
  return item;
}

function mark(nucleus, element = make("span", "mark")) {
  const [left, top, width, height] = nucleus.box.map((share) => 100 * share + "%");
  element.hidden = !nucleus.box.length;
  element.setAttribute("aria-hidden", "true");
  Object.assign(element.style, { left, top, width, height });
  return element;
}

function refresh(nucleus) {
  const label = labels.get(nucleus.row);
  const item = nucleus.card;
  const place = item.querySelector(".label");
  item.classList.toggle("labelled", label !== undefined);
  item.classList.toggle("corrected", label !== undefined && label !== nucleus.call);
  place.hidden = label === undefined;
  place.textContent = label === undefined ? "" : label === nucleus.call ? "confirmed" : "now " + labelWords(label);
  const parts = [`Nucleus ${nucleus.id} of ${nucleus.image}: ${nucleus.call || "no call"}`, percent(nucleus.sure) && percent(nucleus.sure) + " sure",
    nucleus.why, label === undefined ? "" : "you said " + labelWords(label)];
  item.setAttribute("aria-label", parts.filter(Boolean).join(", "));
}

function dim(image, nucleus) {
  image.style.filter = one("same").getAttribute("aria-pressed") === "true" ? `brightness(${nucleus.dim})` : "";
}

// ---- which nuclei, in which order

const STATES = {
  all: () => true,
  doubtful: (n) => n.codes.length > 0,
  open: (n) => !labels.has(n.row),
  labelled: (n) => labels.has(n.row),
  corrected: (n) => labels.has(n.row) && labels.get(n.row) !== n.call,
};
const most = (name) => (a, b) => (b[name] ?? -Infinity) - (a[name] ?? -Infinity) || a.row - b.row;
const ORDERS = { doubt: (a, b) => a.place - b.place, table: (a, b) => a.row - b.row, dna: most("dna"), area: most("area") };

function list() {
  const phase = one("phase").value;
  const reason = one("reason").value;
  const said = (n) => labels.get(n.row) ?? n.call;
  shown = nuclei
    .filter((n) => STATES[one("state").value](n))
    .filter((n) => phase === "any" || said(n) === phase.slice(1))
    .filter((n) => reason === "any" || n.codes.includes(reason))
    .sort(ORDERS[one("order").value]);
  one("cards").replaceChildren(...shown.map((n) => n.card));
  one("none").hidden = shown.length > 0;
  choose(shown.includes(chosen) ? chosen : shown[0] || null, false);
}

function choose(nucleus, hasFocus) {
  if (chosen) {
    chosen.card.setAttribute("aria-selected", "false");
    chosen.card.tabIndex = -1;
  }
  chosen = nucleus;
  one("nucleus").hidden = !nucleus;
  if (!nucleus) return;
  nucleus.card.setAttribute("aria-selected", "true");
  nucleus.card.tabIndex = 0;
  if (hasFocus) {
    nucleus.card.focus({ preventScroll: true });
    nucleus.card.scrollIntoView({ block: "nearest" });
  }
  describe(nucleus);
}

function describe(nucleus) {
  one("large").src = "data:image/jpeg;base64," + nucleus.picture;
  one("large").alt = `Nucleus ${nucleus.id} with its surroundings`;
  dim(one("large"), nucleus);
  mark(nucleus, one("nucleus").querySelector(".mark"));
  one("name").textContent = `Nucleus ${nucleus.id} of ${nucleus.image}`;
  one("why").textContent = nucleus.why ? "Look at it because: " + nucleus.why : "";
  one("bars").replaceChildren(...about.classes.map((name, k) => {
    const bar = make("div", "bar");
    const track = make("span", "track");
    const fill = make("i");
    fill.style.width = 100 * (nucleus.p[k] ?? 0) + "%";
    fill.style.background = colourOf(name);
    track.append(fill);
    bar.append(make("span", "", name), track, make("span", "", percent(nucleus.p[k])));
    return bar;
  }));
  const facts = [nucleus.dna !== null && `DNA ${nucleus.dna}${about.unit && " " + about.unit}`, nucleus.area !== null && `area ${nucleus.area} µm²`,
    nucleus.wide !== null && `picture ${nucleus.wide} µm wide`, nucleus.guessed && "pixel size guessed"];
  one("measured").textContent = facts.filter(Boolean).join(" · ");
  for (const button of one("answers").children) {
    button.setAttribute("aria-pressed", String(labels.get(nucleus.row) === button.value));
  }
}

// ---- answers

function say(label) {
  if (!chosen) return;
  const nucleus = chosen;
  past.push([nucleus.row, labels.get(nucleus.row)]);
  labels.set(nucleus.row, label);
  changed(nucleus);
  one("said").textContent = `Nucleus ${nucleus.id}: ${labelWords(label)}`;
  step(1);
}

function undo() {
  if (!past.length) return;
  const [row, before] = past.pop();
  const nucleus = byRow.get(row);
  if (before === undefined) labels.delete(row);
  else labels.set(row, before);
  changed(nucleus);
  if (!shown.includes(nucleus)) reset();
  choose(nucleus, true);
  one("said").textContent = `Undone: nucleus ${nucleus.id}`;
}

function changed(nucleus) {
  refresh(nucleus);
  keep(nucleus.row);
  progress();
}

function progress() {
  const corrected = nuclei.filter(STATES.corrected).length;
  one("progress").textContent = `${corrected} of ${nuclei.length} corrected, ${labels.size - corrected} confirmed`;
  one("bar").max = nuclei.length;
  one("bar").value = labels.size;
  one("undo").disabled = !past.length;
  one("save").disabled = !labels.size;
}

function labelsText() {
  const rows = [...labels.keys()].sort((a, b) => a - b);
  return about.header + rows.map((row) => {
    const [before, after] = byRow.get(row).csv;
    return before + "," + about.labels[labels.get(row)] + (after === "\n" ? after : "," + after);
  }).join("");
}

function save() {
  if (!labels.size) return;
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([labelsText()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  one("said").textContent = `Saved ${labels.size} labels`;
}

// ---- moving

function step(by) {
  const k = shown.indexOf(chosen);
  choose(shown[Math.min(Math.max(k + by, 0), shown.length - 1)], true);
}

function columns() {
  const second = shown.findIndex((n) => n.card.offsetTop > shown[0].card.offsetTop);
  return second < 1 ? shown.length : second;
}

function reset() {
  for (const id of ["state", "phase", "reason"]) one(id).selectedIndex = 0;
  list();
}

function toggle(id, then) {
  const isOn = one(id).getAttribute("aria-pressed") !== "true";
  one(id).setAttribute("aria-pressed", String(isOn));
  then(isOn);
}

const showSame = () => toggle("same", () => {
  for (const nucleus of nuclei) dim(nucleus.card.querySelector("img"), nucleus);
  if (chosen) dim(one("large"), chosen);
});
const showMarks = () => toggle("marks", (isOn) => document.body.classList.toggle("no-marks", !isOn));

function turnTheme() {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (isDark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

function showKeys() {
  one("keys").hidden = !one("keys").hidden;
  one("help").setAttribute("aria-expanded", String(!one("keys").hidden));
}

const ACTIONS = {
  ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => step(columns()), ArrowUp: () => step(-columns()),
  Home: () => step(-Infinity), End: () => step(Infinity), Enter: () => step(1),
  x: () => say(NONE), z: undo, s: save, b: showSame, o: showMarks, d: turnTheme, "?": showKeys,
};

document.addEventListener("keydown", (event) => {
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const onButton = event.target.closest("button");
  if (event.target.closest("select") || !isPlain || (onButton && ["Enter", " "].includes(event.key))) return;
  const name = about.classes[Number(event.key) - 1];
  const action = /^[1-9]$/.test(event.key) && name !== undefined ? () => say(name)
    : ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  if (shown.length || ![...("ArrowRight ArrowLeft ArrowDown ArrowUp Home End Enter").split(" ")].includes(event.key)) action();
});

// ---- the page

function option(value, text) {
  const element = make("option", "", text);
  element.value = value;
  return element;
}

function answer(label, key) {
  const button = make("button");
  button.type = "button";
  button.value = label;
  if (label !== NONE) {
    const dot = make("span", "dot");
    dot.style.background = colourOf(label);
    button.append(dot);
  }
  button.append(make("span", "", label === NONE ? "No nucleus" : label));
  if (key) button.append(make("kbd", "", key));
  button.addEventListener("click", () => say(label));
  return button;
}

function start() {
  nuclei.forEach((nucleus, place) => Object.assign(nucleus, { place }));
  one("title").textContent = about.title;
  const doubtful = nuclei.filter(STATES.doubtful).length;
  const facts = [`${counted(nuclei.length, "nucleus", "nuclei")} of ${counted(new Set(nuclei.map((n) => n.image)).size, "image", "images")}`, `${doubtful} doubtful`,
    about.models.length && "called by " + about.models.join(", "), about.left_out && `${about.left_out} less doubtful ones left out`];
  one("about").textContent = facts.filter(Boolean).join(" · ");
  one("phase").append(option("any", "any"), ...about.classes.map((name) => option("=" + name, name)),
    ...(nuclei.some((n) => !n.call) ? [option("=", "no call")] : []), option("=" + NONE, "no nucleus"));
  const counts = (code) => nuclei.filter((n) => n.codes.includes(code)).length;
  one("reason").append(option("any", "any"), ...Object.entries(about.reasons).map(([code, words]) => option(code, `${words} (${counts(code)})`)));
  one("answers").append(...about.classes.map((name, k) => answer(name, k < 9 ? String(k + 1) : "")), answer(NONE, "X"));
  const keys = [...about.classes.slice(0, 9).map((name, k) => [String(k + 1), name]), ["X", "no nucleus"], ["Z", "undo"], ["← ↑ → ↓", "move"],
    ["Enter", "next"], ["B", "same brightness scale"], ["O", "marker"], ["D", "light or dark"], ["S", "save labels.csv"]];
  one("keylist").append(...keys.map(([key, words]) => {
    const item = make("li");
    item.append(make("kbd", "", key), document.createTextNode(words));
    return item;
  }));
  recall();
  nuclei.forEach(card);
  for (const id of ["state", "phase", "reason", "order"]) one(id).addEventListener("change", list);
  const clicks = { save, undo, same: showSame, marks: showMarks, theme: turnTheme, help: showKeys, reset };
  for (const [id, action] of Object.entries(clicks)) one(id).addEventListener("click", action);
  one("tools").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("beforeunload", (event) => {
    if (!keeps && labels.size) event.preventDefault();
  });
  addEventListener("storage", (event) => {
    if (event.key !== KEY || !event.newValue) return;
    recall();
    nuclei.forEach(refresh);
    if (chosen) describe(chosen);
    progress();
  });
  list();
  progress();
  if (nOthers) note(`${nOthers} labels that you gave earlier belong to nuclei that this page does not show.`);
}

start();
