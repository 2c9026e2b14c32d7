// The state of the page: images, their nuclei, selection, and labels. Parts of the page listen to its events.

import * as api from './api.js';

export const NONE = 'none';
const events = new EventTarget();
export const on = (names, react) => names.split(' ').forEach((name) => events.addEventListener(name, react));
export const tell = (name, words) => events.dispatchEvent(Object.assign(new Event(name), { words }));

export const images = new Map(); // id -> {about, data, nuclei, view}
export const state = {
  here: null, // the nucleus in focus
  chosen: new Set(),
  image: null, // id of the image shown
  hidden: new Set(), // hidden phases
  wanted: 'all',
  order: { by: 'doubt', turn: 1 },
  listed: [],
};
const undone = [];

// With more nuclei than this, the list is updated at most once a second.
const MANY = 2000;
let listedAt = 0;
let listing = null;

/** Add images with their nuclei; images that were called again are replaced, and their nuclei stay chosen. */
export function put(pairs) {
  for (const [about, data] of pairs) putOne(about, data);
  state.chosen = new Set([...state.chosen].map(now).filter(Boolean));
  state.here = now(state.here);
  clearTimeout(listing);
  const wait = all().length > MANY ? listedAt + 1000 - Date.now() : 0;
  if (wait > 0) listing = setTimeout(changed, wait);
  else changed();
}

/** Return the current object of a nucleus; null if it is gone, or if nuclei were found anew. */
const now = (nucleus) => (nucleus && images.get(nucleus.image)?.numbered.get(numberOf(nucleus))) ?? null;
const numberOf = ({ found, id }) => `${found} ${id}`;

function putOne(about, data) {
  // Names are unique on the server: a repeated one means that it no longer has the earlier image.
  const isLost = (other) => other.name === about.name && other.id !== about.id;
  [...images.values()].filter((other) => isLost(other.about)).forEach((other) => lose(other.about.id));
  const old = images.get(about.id);
  const image = { about, data, view: old?.view ?? null, bitmap: old?.bitmap ?? null, nuclei: [] };
  image.nuclei = data.id.map((id, row) => ({
    image: about.id, found: about.found, row, id, name: about.name, classes: data.classes, colours: data.colours,
    ...Object.fromEntries(['y', 'x', 'box', 'call', 'p', 'sure', 'could_be', 'why', 'dna', 'area', 'strange', 'outline'].map((k) => [k, data[k][row]])),
    said: saidOf(about, id),
  }));
  image.numbered = new Map(image.nuclei.map((nucleus) => [numberOf(nucleus), nucleus]));
  images.set(about.id, image);
  sayAgain(image);
}

// Labels of images that the server no longer has: name and hash of the nuclei -> number of a nucleus -> label.
const gone = new Map();
const foundIn = ({ name, found }) => `${found} ${name}`;

/** Remove an image that the server no longer has; keep its labels, and return whether there are any. */
export function lose(id) {
  const { about, nuclei } = images.get(id);
  const said = nuclei.filter((nucleus) => nucleus.said).map((nucleus) => [nucleus.id, nucleus.said]);
  if (said.length) gone.set(foundIn(about), new Map(said));
  drop(id);
  return said.length > 0;
}

/** Restore the labels of an image that was given again after it was lost. */
function sayAgain({ about, nuclei }) {
  const said = gone.get(foundIn(about)) ?? new Map();
  const known = nuclei.filter((nucleus) => said.get(nucleus.id) && fits(nucleus, said.get(nucleus.id)));
  known.forEach((nucleus) => {
    nucleus.said ||= said.get(nucleus.id);
    said.delete(nucleus.id);
  });
  save(known);
}

/** Return the text after a length or an area: " (guessed)" if the pixel size of its image was not stated. */
export const guessed = (image) => (image?.data.scale_is_known === false ? ' (guessed)' : '');

export function drop(...ids) {
  ids.forEach((id) => images.delete(id));
  state.chosen.clear();
  state.here = null;
  undone.length = 0;
  changed();
}

export function dropAll() {
  gone.clear();
  drop(...images.keys());
}

export const all = () => [...images.values()].flatMap((image) => image.nuclei);
export const classes = () => [...new Set([...images.values()].flatMap((image) => image.data.classes))];
export const colourOf = (nucleus) => (nucleus.said === NONE ? '#777777' : nucleus.colours[nucleus.said || nucleus.call] ?? '#999999');
export const phaseOf = (nucleus) => (nucleus.said === NONE ? 'no nucleus' : nucleus.said || nucleus.call || 'no call');
/** Return whether a nucleus should be reviewed; labelled ones already were. */
export const isDoubtful = (nucleus) => nucleus.why !== '' && !nucleus.said;
export const timeLeft = (s) => (s > 90 ? `, about ${Math.round(s / 60)} min left` : s > 0 ? `, about ${Math.ceil(s)} s left` : '');
const whole = (share) => (share > 0 && share < 0.005 ? '<1' : share < 1 && share >= 0.995 ? '>99' : Math.round(100 * share));
export const percent = (share) => (share == null ? '' : `${whole(share)}\u00a0%`);
/** Return the DNA of a nucleus, or null if it is not comparable between images because there is no G1 peak. */
export const dnaOf = (n) => (images.size === 1 || images.get(n.image)?.data.dna_unit === 'N' ? n.dna : null);

const keys = {
  doubt: (n) => (isDoubtful(n) ? 0 : 1) + (n.sure ?? 0) / 2,
  strange: (n) => -n.strange,
  phase: (n) => 10 * n.classes.indexOf(n.call) - (n.sure ?? 0),
  number: (n) => n.order,
  dna: (n) => -(dnaOf(n) ?? -1),
  area: (n) => -(n.area ?? -1),
  sure: (n) => n.sure ?? 0,
  why: (n) => n.why || '\uffff',
  could_be: (n) => n.could_be,
  said: (n) => n.said || '\uffff',
  name: (n) => n.name,
};
const typical = (phase) => (n) => (n.call === phase ? 0 : 3) - (n.p[n.classes.indexOf(phase)] ?? 0) + n.strange / 2 + (n.why ? 1 : 0);
const filters = {
  all: () => true,
  doubt: (n) => isDoubtful(n),
  said: (n) => n.said !== '',
  chosen: (n) => state.chosen.has(n),
};

/** Update the list of nuclei and its order. */
export function changed() {
  clearTimeout(listing);
  listedAt = Date.now();
  const everything = all();
  everything.forEach((nucleus, k) => (nucleus.order = k));
  const wanted = filters[state.wanted] ?? ((n) => phaseOf(n) === state.wanted);
  const { by, turn } = state.order;
  const key = keys[by] ?? typical(by.replace('typical ', ''));
  const compare = (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * turn || a[1].order - b[1].order;
  state.listed = everything.filter(wanted).map((n) => [key(n), n]).sort(compare).map(([, n]) => n);
  if (!images.has(state.image)) look(null, images.keys().next().value ?? null);
  // Keys label the nucleus in focus: it must be in the list, or be one of several chosen.
  const isAstray = !state.here || (state.chosen.size < 2 && !state.listed.includes(state.here));
  if (isAstray && state.listed.length) focus(state.listed[0]);
  else tell('list');
  tell('data');
}

/** Choose one nucleus, alone or in addition to the others. */
export function focus(nucleus, add = false) {
  if (!add) state.chosen.clear();
  const isLeft = state.chosen.size > 1 && state.chosen.delete(nucleus);
  if (!isLeft) state.chosen.add(nucleus);
  look(isLeft ? [...state.chosen].at(-1) : nucleus);
  tell('chosen');
}

/** Put a nucleus in focus, or none, and show its image. */
function look(nucleus, image = nucleus.image) {
  state.here = nucleus;
  if (state.image === image) return;
  state.image = image;
  tell('image');
}

/** Show an image, with its first listed nucleus in focus, if any. */
export function lookAt(image) {
  const first = state.listed.find((nucleus) => nucleus.image === image) ?? null;
  state.chosen = new Set(first ? [first] : []);
  look(first, image);
  tell('chosen');
}

/** Choose these nuclei; by default the focus stays if it is among them, else it moves to the first. */
export function choose(nuclei, here = nuclei.includes(state.here) ? state.here : nuclei[0]) {
  state.chosen = new Set(nuclei);
  if (here) look(here);
  if (state.wanted === 'chosen') changed();
  tell('chosen');
}

/** Move the focus by a number of places in the list; with `extend` the nuclei passed are chosen too. */
export function step(by, extend = false) {
  const { listed, here } = state;
  if (!listed.length) return;
  const at = listed.indexOf(here);
  const next = listed[Math.min(Math.max(at < 0 ? 0 : at + by, 0), listed.length - 1)];
  if (extend && at >= 0) {
    const between = listed.slice(Math.min(at, listed.indexOf(next)), Math.max(at, listed.indexOf(next)) + 1);
    between.forEach((nucleus) => state.chosen.add(nucleus));
    look(next);
    tell('chosen');
  } else focus(next);
}

const fits = ({ classes }, said) => ['', NONE, ...classes].includes(said); // whether the nucleus's model has that label

/** Label all chosen nuclei ("" removes the label); after a single one go on to the next. */
export function label(what) {
  const nuclei = [...state.chosen].filter((n) => fits(n, what) && (what || n.said));
  if (!nuclei.length) return;
  undone.push(nuclei.map((nucleus) => [nucleus, nucleus.said]));
  nuclei.forEach((nucleus) => (nucleus.said = what));
  save(nuclei);
  tell('said');
  if (nuclei.length === 1 && what) step(1);
}

export function undo() {
  const last = undone.pop()?.map(([nucleus, said]) => [now(nucleus), said]).filter(([nucleus, said]) => nucleus && fits(nucleus, said));
  if (!last?.length) return;
  last.forEach(([nucleus, said]) => (nucleus.said = said));
  save(last.map(([nucleus]) => nucleus));
  tell('said');
  choose(last.map(([nucleus]) => nucleus));
}

// Labels not yet sent, by image and hash of its nuclei: {id, found, said: number of a nucleus -> label}. Only these are
// sent, because another tab may label too; one request per key at a time, repeated if the connection is lost.
const UNSENT = 'unsent';
const unsent = new Map();
const foundOf = (id, found) => `${id} ${found}`;
const saving = new Map();
const lost = new Map(); // keys of labels that were refused or not received -> reason
function save(nuclei) {
  for (const { image: id, found, id: number, said } of nuclei) {
    const key = foundOf(id, found);
    if (!unsent.has(key)) unsent.set(key, { id, found, said: {} });
    unsent.get(key).said[number] = said;
    if (!saving.has(key)) saving.set(key, send(key));
  }
}

async function send(key) {
  await null; // labels given in one step are sent together
  const due = unsent.get(key);
  for (let wait = 1000; images.has(due.id) && unsent.has(key); wait = Math.min(2 * wait, 30000)) {
    const sent = { ...due.said };
    try {
      const about = await correct(due.id, due);
      for (const [number, said] of Object.entries(sent)) if (due.said[number] === said) delete due.said[number];
      if (!Object.keys(due.said).length) unsent.delete(key);
      lost.delete(key);
      heard(about);
    } catch (error) {
      lost.set(key, `Your corrections are not saved yet: ${error.message}`);
      if (error.status && error.status < 500) break;
      tell('saved');
      await new Promise((done) => setTimeout(done, wait));
    }
  }
  saving.delete(key);
  tell('saved');
  // Last, because listeners then fetch the image's data, and an answer received meanwhile would seem newer.
  if (due.unfit) tell('unfit', due.unfit);
}

/** Send labels; if another model has called the image meanwhile, leave out labels that it lacks. */
const correct = (id, due) => api.correct(id, due.found, due.said).catch(async (error) => {
  const about = error.status === 400 && (await api.visit()).images.find((image) => image.id === id);
  const unfit = Object.keys(due.said).filter((n) => about && !fits({ classes: Object.keys(about.counts) }, due.said[n]));
  if (!unfit.length) throw error;
  unfit.forEach((n) => delete due.said[n]);
  due.unfit = `${about.name}: what you said of ${unfit.length === 1 ? 'a nucleus' : `${unfit.length} nuclei`} is not kept: its model has no such phase`;
  return correct(id, due);
});

/** Show the server's labels of an image, also those from other tabs. */
export function heard(about) {
  const image = images.get(about.id);
  if (image?.about.found !== about.found) return;
  image.about = { ...image.about, corrections: about.corrections, aside: about.aside };
  const others = image.nuclei.filter((nucleus) => nucleus.said !== saidOf(about, nucleus.id));
  others.forEach((nucleus) => (nucleus.said = saidOf(about, nucleus.id)));
  if (others.length) tell('said');
}

/** Return the label of a nucleus; one not yet sent is newer than the server's. */
const saidOf = ({ id, found, corrections }, number) => unsent.get(foundOf(id, found))?.said[number] ?? corrections[number] ?? '';

export const unsaved = () => [...lost].find(([key]) => images.has(unsent.get(key)?.id))?.[1] ?? '';
/** Wait until all labels are saved on the server; throw if it refuses or does not answer. */
export async function saved() {
  const heard = new AbortController();
  const refused = new Promise((_, refuse) => {
    const look = () => unsaved() && refuse(new Error(unsaved()));
    events.addEventListener('saved', look, { signal: heard.signal });
    look();
  });
  await Promise.race([refused, Promise.all(saving.values())]).finally(() => heard.abort()); // refused first, because both may be settled
}
/** Send the labels that the last page in this tab had not sent; it left them in sessionStorage. */
export async function sendUnsent() {
  const left = JSON.parse(sessionStorage.getItem(UNSENT) ?? '[]');
  sessionStorage.removeItem(UNSENT);
  for (const due of left) {
    await correct(due.id, due).catch((error) => {
      // The image may have been deleted meanwhile.
      if (error.status !== 404) tell('unfit', `${Object.keys(due.said).length} of your corrections are not kept: ${error.message}`);
    });
    if (due.unfit) tell('unfit', due.unfit);
  }
}
window.addEventListener('pagehide', () => {
  const left = [...unsent.values()].filter(({ id }) => images.has(id));
  sessionStorage.setItem(UNSENT, JSON.stringify(left));
  left.forEach(({ id, found, said }) => api.correct(id, found, said).catch(() => {})); // in case the tab is closed
});
window.addEventListener('beforeunload', (event) => unsaved() && event.preventDefault());

export function tallied(nuclei) {
  const counts = {};
  nuclei.forEach((nucleus) => (counts[phaseOf(nucleus)] = (counts[phaseOf(nucleus)] ?? 0) + 1));
  return counts;
}
