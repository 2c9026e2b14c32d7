// The page: files, progress, settings, texts, keys.

import * as api from './api.js';
import { button, element, get, replace } from './element.js';
import { NONE, all, choose, classes, drop, dropAll, heard, images, isDoubtful, label, lookAt, lose, on, percent, phaseOf, put, saved, sendUnsent, state, step, tallied, tell, timeLeft, undo } from './state.js';
import './viewer.js';
import './plot.js';
import './list.js';
import './nucleus.js';
import { beginComparing, hasMap } from './experiment.js';
import { keyOf } from './marks.js';
import { OWN, begin } from './training.js';
import { card } from './card.js';
import { dropped } from './drop.js';

const AT_ONCE = 2;
let site = {};
let running = new AbortController(); // of the current work, first the loading of the page; null if there is none
let told = []; // notes from reading the images together
let isDue = false; // an image was removed during the work; the others may have depended on it
const notTaken = new Map(); // files that have not arrived yet: key -> name
const due = []; // files given during the current work

// --- giving images ---

const SETTINGS = ['model', 'kind', 'pixel_size_um', 'channel', 'plane'];
const settings = () => Object.fromEntries(SETTINGS.map((id) => [id, get(id).value.trim()]));

/** Store the settings of the last call, for a page that is loaded again. */
const keepSettings = () => localStorage.setItem('settings', JSON.stringify({ ...settings(), how: get('how').value }));

/** Show the settings of the last call. */
function showSettings() {
  const kept = JSON.parse(localStorage.getItem('settings') ?? '{}');
  for (const id of [...SETTINGS, 'how']) {
    get(id).value = kept[id] ?? '';
    if (get(id).selectedIndex < 0) get(id).selectedIndex = 0; // the stored choice no longer exists
  }
}

/** Do one thing at a time, with progress from its first to its last step. */
async function alone(task) {
  if (running) {
    showSettings();
    return problem('Work is still under way; wait, or cancel it.');
  }
  running = new AbortController();
  keepSettings();
  progress('Getting ready ...');
  try {
    await task(running.signal);
  } catch (error) {
    if (error.name !== 'AbortError') problem(error.message);
  }
  running = null;
  get('progress').hidden = true;
  if (due.length) await giveDue();
  else if (isDue && images.size) await callAgain();
}

function progress(words, share = null) {
  const bar = get('progress').querySelector('progress');
  if (share == null) bar.removeAttribute('value');
  else bar.value = share;
  get('progress-words').textContent = words;
  get('progress').hidden = false;
}

/** Run a task for each item, a few at a time; a failed one is reported and stops no other. Return whether all were tried. */
async function each(items, name, signal, task) {
  const [start, waiting] = [Date.now(), [...items]];
  let done = 0;
  const report = () => {
    const left = done ? ((Date.now() - start) / done) * (items.length - done) / 1000 : 0;
    progress(`${done} of ${items.length} done${timeLeft(left)}`, done / Math.max(items.length, 1));
  };
  const work = async () => {
    while (waiting.length && !signal.aborted) {
      const item = waiting.shift();
      try {
        await retried((isAgain) => task(item, isAgain), signal);
      } catch (error) {
        if (error.name === 'AbortError') break;
        problem(error.message.startsWith(name(item)) ? error.message : `${name(item)}: ${error.message}`);
      }
      done += 1;
      report();
    }
  };
  report();
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (signal.aborted) problem(`Cancelled: ${items.length - done} of ${items.length} were not done.`);
  return !signal.aborted;
}

/** Run a task, and again if the server is busy or does not answer; the task gets whether it is a repetition. */
async function retried(task, signal) {
  for (let again = 0; ; again += 1) {
    try {
      return await task(again > 0);
    } catch (error) {
      if ((error.status !== 503 && error.name !== 'LostError') || again > 8) throw error;
      get('progress-words').textContent = `Trying again: ${error.message}`;
      if (!signal.aborted) {
        await new Promise((go) => {
          setTimeout(go, 1000 * 2 ** Math.min(again, 5));
          signal.addEventListener('abort', go);
        });
      }
    }
  }
}

async function take(...known) {
  put(await Promise.all(known.map(async (about) => [about, await api.nuclei(about.id)])));
  get('start').hidden = true;
  get('bench').hidden = false;
  get('downloads').hidden = get('forget').hidden = get('add').hidden = false;
}

const isTable = (name) => /\.(csv|tsv)$/i.test(name);
const isSheet = (name) => /\.(xlsx?|xlsm|ods|numbers)$/i.test(name);

/** Take files: now, or when the current work is done. */
function give(files) {
  clearOld();
  due.push(...files);
  if (!running) return giveDue();
  tellDue();
  get('progress').hidden = false;
}

const tellDue = () => (get('due').textContent = due.length ? `${due.length} more ${due.length === 1 ? 'comes' : 'come'} next.` : '');

async function giveDue() {
  const given = due.splice(0);
  tellDue();
  const tooLarge = given.filter((file) => file.size > site.file_mb * 2 ** 20);
  tooLarge.forEach((file) => problem(`${file.name}: it has more than ${site.file_mb} MB; cut it into smaller fields`));
  const sheets = given.filter(({ name }) => isSheet(name));
  sheets.forEach(({ name }) => problem(`${name}: only CSV tables are read; save it as CSV, and give that`));
  const wanted = given.filter((file) => !tooLarge.includes(file) && !sheets.includes(file));
  const [pictures, tables] = [false, true].map((is) => wanted.filter(({ name }) => isTable(name) === is));
  await alone(async (signal) => {
    unread(true);
    const keys = new Map(wanted.map((file) => [file, Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('')]));
    keys.forEach((key, file) => notTaken.set(key, file.name));
    const isDone = await each(pictures, (file) => file.name, signal, async (file, isAgain) => {
      const key = keys.get(file);
      await take((isAgain && await arrived(key)) || await api.upload(file, key, settings(), signal));
      notTaken.delete(key);
    });
    await takeTables(tables);
    notTaken.clear();
    // A cancelled upload may have arrived nevertheless.
    if (!isDone) await asServer().catch(() => null);
    else if (images.size > (tables.length ? 0 : 1)) await readTogether(signal);
  });
}

const onTheirWay = () => [...notTaken, ...due.map(({ name }) => [null, name])];
window.addEventListener('beforeunload', (event) => onTheirWay().length && event.preventDefault());
window.addEventListener('pagehide', () => sessionStorage.setItem('not-taken', JSON.stringify(onTheirWay())));

/** Report the files that were not uploaded when the page was last left in this tab. */
function tellNotTaken() {
  const left = JSON.parse(sessionStorage.getItem('not-taken') ?? '[]');
  const names = left.filter(([key]) => !site.images.some((about) => about.key === key)).map(([, name]) => name);
  if (names.length) problem(`The page was left before all files had arrived; give these again: ${names.join(', ')}`);
}

/** Return the server's data on a file whose answer was lost; undefined if it did not arrive. */
const arrived = async (key) => (await api.visit()).images.find((about) => about.key === key);

/** Take a plate map, and saved tables of corrections; several maps are refused, because none can be preferred. */
async function takeTables(tables) {
  const [maps, others] = [[], []];
  for (const table of tables) {
    await api.beginning(table, 4096).then((text) => {
      const head = text.split(/\r?\n/).find((line) => line.trim() && !line.startsWith('#')) ?? '';
      if (/label|class|phase/i.test(head)) others.push(table);
      else if (/\bnucleus_id\b/.test(head)) throw new Error('it is a table of calls, not of corrections: give the table saved under Corrections');
      else maps.push(table);
    }).catch((error) => problem(`${table.name}: ${error.message}`));
  }
  if (maps.length > 1) problem(`${maps.map(({ name }) => name).join(', ')}: ${maps.length} tables could be the plate map; give one`);
  else if (maps.length) await takeTable(maps[0], true);
  for (const table of others) await takeTable(table, false);
}

async function takeTable(table, isMap) {
  try {
    await saved();
    if (isMap) {
      await api.plateMap(table);
      return hasMap(true);
    }
    const { n, images: found } = await api.again(table);
    put(await Promise.all(found.map(async (about) => [about, images.get(about.id)?.data ?? await api.nuclei(about.id)])));
    if (!n) problem(`${table.name}: it names no nucleus of your images; first give its images, read as they were then`);
  } catch (error) {
    problem(`${table.name}: ${error.message}`);
  }
}

/** Add a visitor's own model to the choices, or remove it (`card` is null). */
function ownModel(card) {
  const old = get('model').querySelector(`option[value="${OWN}"]`);
  site.models = [...site.models.filter(({ name }) => name !== OWN), ...(card ? [card] : [])];
  if (!card) old?.remove();
  else if (old) old.textContent = card.title;
  else get('model').append(element('option', { value: OWN }, card.title));
}

/** Store, for a page that is loaded again, whether its images must still be read together. */
const unread = (is) => localStorage.setItem('unread', is ? 'yes' : '');

/** Store the notes from reading the images together, so that a page that is loaded again shows them too. */
function noticed(notes) {
  told = notes;
  sessionStorage.setItem('told', JSON.stringify(notes));
}

/** Read the images together, and call again those for which shared data or settings changed. */
const callAgain = () => alone(readTogether);

async function readTogether(signal) {
  const given = settings();
  const how = get('how').value;
  isDue = false;
  unread(true);
  if (!await asServer()) throw new Error('nothing is kept for you any more; give the images again');
  await saved();
  progress('Reading the images together ...');
  const { changed, notes } = await retried(() => api.together(how ? { ...given, [how]: true } : given, signal), signal);
  noticed(notes);
  const named = changed.filter((id) => images.has(id)).map((id) => ({ id, name: images.get(id).about.name }));
  let isRefused = false;
  const refused = (error) => { isRefused = true; throw error; };
  const again = async ({ id }) => images.has(id) && take(await api.call(id, given, signal).catch(refused));
  if (await each(named, ({ name }) => name, signal, again) && !isDue) unread(false);
  if (isRefused) await asServer(); // a refused image has no nuclei any longer
  tell('read');
}

/** Show the server's images, which another tab may have added, called again or removed. Return false if it has none. */
async function asServer() {
  const before = new Map([...images].map(([id, { about }]) => [id, about]));
  const visit = await api.visit();
  // Images added, called or labelled here during the request are newer than the answer.
  const isCurrent = ({ id }) => images.get(id)?.about === before.get(id);
  const known = visit.images.filter(isCurrent);
  if (!visit.images.length) return false; // keep what is shown, so that the visitor can give it again
  const kept = new Set(visit.images.map(({ id }) => id));
  for (const { id, name } of [...before.values()].filter((about) => !kept.has(about.id) && isCurrent(about))) {
    if (lose(id)) problem(`${name}: it is no longer kept on the server; give it again to have your corrections back`);
  }
  const isShown = ({ id, call }) => images.get(id)?.about.call === call;
  known.filter(isShown).forEach(heard);
  const others = known.filter((about) => !isShown(about));
  const n = others.filter(({ id }) => images.has(id)).length;
  if (n && !running) problem(`Another tab called ${n === 1 ? 'an image' : `${n} images`} again: those calls are shown now.`);
  if (others.length) await take(...others);
  return true;
}

function problem(words) {
  const box = get('problems');
  if (box.hidden) {
    box.replaceChildren(element('ul'), button(clearProblems, {}, 'Close'));
    box.hidden = false;
  }
  box.querySelector('ul').append(element('li', {}, words));
}

function clearProblems() {
  get('problems').hidden = true;
}

/** Clear old problems, but not those of the current work. */
const clearOld = () => running ?? clearProblems();

/** Save a file; if the server refuses, show the problem instead. */
async function download(link) {
  const path = link.getAttribute('href');
  try {
    await saved(); // so that the file contains the last label
    await asServer();
    const file = await api.file(path);
    if (link.id === 'save-labels') all().forEach((nucleus) => onDisk.add(wordOn(nucleus)));
    const made = element('a', { href: URL.createObjectURL(file), download: file.name });
    made.click();
    setTimeout(() => URL.revokeObjectURL(made.href), 60_000);
  } catch (error) {
    link.closest('dialog')?.close();
    problem(error.message);
  }
}

// Labels that are in a saved table.
const onDisk = new Set();
const wordOn = ({ image, found, id, said }) => `${image} ${found} ${id} ${said}`;
const asideIn = (some) => some.reduce((sum, { about }) => sum + about.aside, 0);

/** Ask before unsaved labels of images, or the visitor's model, are deleted; return whether they may be. */
function mayGo(some, hasModel) {
  const n = some.flatMap(({ nuclei }) => nuclei).filter((nucleus) => nucleus.said && !onDisk.has(wordOn(nucleus))).length;
  const labels = n && `${n} ${n === 1 ? 'correction that is' : 'corrections that are'} not saved as a table`;
  const unfit = asideIn(some);
  const aside = unfit && `${unfit} ${unfit === 1 ? 'correction that does' : 'corrections that do'} not fit this model, or these settings`;
  const what = [labels, aside, hasModel && 'the model trained on your corrections'].filter(Boolean).join(', and ');
  return !what || window.confirm(`This deletes ${what}. Go on?`);
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[download]');
  if (!link) return;
  event.preventDefault();
  download(link);
});

get('files').addEventListener('change', () => {
  give(get('files').files);
  get('files').value = '';
});
for (const id of ['add', 'choose']) get(id).addEventListener('click', () => get('files').click());
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('over');
});
document.addEventListener('dragleave', (event) => event.relatedTarget ?? document.body.classList.remove('over'));
document.addEventListener('drop', async (event) => {
  event.preventDefault();
  document.body.classList.remove('over');
  const hasFiles = event.dataTransfer.types.includes('Files'); // not available after an await
  try {
    const isWanted = (name) => !site.suffixes || isTable(name) || isSheet(name) || site.suffixes.some((suffix) => name.toLowerCase().endsWith(suffix));
    const skipped = [];
    const files = await dropped(event.dataTransfer, isWanted, skipped);
    if (files.length) give(files);
    else if (hasFiles && !skipped.length) problem('There is no image, and no table, in the folder.');
    skipped.forEach(problem);
  } catch (error) {
    problem(`The folder cannot be read: ${error.message}`);
  }
});
/** Stop the current work; files waiting for it are not started. */
function cancel() {
  const n = due.splice(0).length;
  tellDue();
  if (n) problem(`Cancelled: ${n} ${n === 1 ? 'file' : 'files'} given since ${n === 1 ? 'was' : 'were'} not begun.`);
  running?.abort();
}
get('cancel').addEventListener('click', cancel);

// --- settings, model, forgetting ---

get('model').addEventListener('change', () => (images.size ? callAgain() : null));
get('again').addEventListener('click', () => {
  get('settings').close();
  clearOld();
  if (images.size) callAgain();
});
get('settings').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !event.target.matches('input')) return;
  event.preventDefault(); // else Enter would also press the next focused button
  get('again').click();
});
for (const [opener, dialog] of [['open-about', 'about'], ['open-settings', 'settings'], ['open-corrections', 'corrections'], ['open-experiment', 'experiment']]) {
  get(opener).addEventListener('click', () => {
    if (dialog === 'about') get('card').replaceChildren(...card(site.models.find(({ name }) => name === get('model').value)));
    get(dialog).showModal();
  });
  get(dialog).querySelector('.close').addEventListener('click', () => get(dialog).close());
}
get('drop-map').addEventListener('click', async () => {
  get('experiment').close();
  unread(true);
  await api.dropMap().catch((error) => problem(error.message));
  hasMap(false);
  callAgain();
});
get('remove').addEventListener('click', async () => {
  const id = state.image;
  if (!mayGo([images.get(id)].filter(Boolean), false)) return;
  try {
    await api.remove(id);
  } catch (error) {
    problem(error.message);
    if (error.status !== 404) return; // the server may still have the image
  }
  noticed([]);
  drop(id);
  if (!images.size) return start() ?? get('choose').focus();
  // The other images may have used its data.
  unread(true);
  if (running) isDue = true;
  else callAgain();
});
get('forget').addEventListener('click', async () => {
  if (!mayGo([...images.values()], site.models.some(({ name }) => name === OWN))) return;
  cancel();
  document.body.inert = true; // files given meanwhile would be deleted too
  try {
    await api.forget();
    start();
    site = await api.visit();
    await begin(callAgain, ownModel);
  } catch (error) {
    problem(`${images.size ? 'Nothing was forgotten: ' : ''}${error.message}`);
  }
  document.body.inert = false;
  if (!images.size) get('choose').focus();
});

function start() {
  state.wanted = 'all';
  state.order = { by: 'doubt', turn: 1 };
  state.hidden.clear();
  unread(false);
  localStorage.removeItem('settings');
  dropAll();
  get('start').hidden = false;
  for (const id of ['bench', 'downloads', 'forget', 'add', 'open-corrections', 'open-experiment']) get(id).hidden = true;
  noticed([]);
  hasMap(false);
}

// --- texts ---

function tellAll() {
  const nuclei = all();
  const real = nuclei.filter((nucleus) => nucleus.said !== NONE);
  const counts = tallied(real);
  const names = [...classes(), ...(counts['no call'] ? ['no call'] : [])];
  const shares = names.map((name) => `${name} ${percent((counts[name] ?? 0) / Math.max(real.length, 1))}`).join(', ');
  const doubtful = nuclei.filter(isDoubtful).length;
  const labelled = nuclei.filter((nucleus) => nucleus.said);
  const changed = labelled.filter((nucleus) => nucleus.said !== nucleus.call).length;
  const where = images.size > 1 ? ` in ${images.size} images` : '';
  if (!nuclei.length) get('told').textContent = 'No nucleus was found.';
  else if (nuclei.length === 1) {
    const [{ call, sure, said }] = nuclei;
    const called = call ? `${call}, ${percent(sure)} sure` : 'No call';
    get('told').textContent = said ? `${phaseOf(nuclei[0])}, as you say; called: ${called}` : called;
  }
  else get('told').textContent = `${shares}; ${doubtful} of ${nuclei.length}${where} worth a look${labelled.length ? `; ${labelled.length} labelled (${changed} changed)` : ''}`;
  const found = [...images.values()];
  const models = [...new Set(found.map(({ about }) => about.model).filter(Boolean))];
  const guessed = found.filter(({ data }) => !data.scale_is_known && data.id.length).length;
  const guess = guessed ? `Pixel size not stated, or not plausible,${images.size > 1 ? ` in ${guessed} of ${images.size} images` : ''} and guessed from the nuclei: give it under Settings.` : '';
  const warnings = [...new Set(found.map(({ about }) => about.warning).filter(Boolean))].map((text) => `Note: ${text}.`);
  get('note').textContent = [models.length && `Model: ${models.join(', ')}.`, guess, ...warnings, ...notes(found)].filter(Boolean).join(' ');
  const aside = asideIn(found);
  get('aside').hidden = !aside;
  get('aside').textContent = `${aside} ${aside === 1 ? 'correction does' : 'corrections do'} not fit this model, or these settings; ${aside === 1 ? 'it comes' : 'they come'} back with a model and settings that fit.`;
  get('together').hidden = !told.length;
  get('together').lastChild.textContent = told.map((note) => `${note[0].toUpperCase()}${note.slice(1)}.`).join(' ');
}

/** Return notes on how files were interpreted, with their images; notes that differ only in numbers are merged. */
function notes(found) {
  const alike = {};
  found.filter(({ about }) => about.note).forEach(({ about }) => (alike[about.note.replace(/[\d.,]+/g, '')] ??= []).push(about));
  return Object.values(alike).map(([{ name, note }, ...others]) => {
    const example = others.some((other) => other.note !== note) ? `, such as ${name}` : '';
    const words = note.replace(/(?<=\d )um(2?)\b/g, (_, square) => `µm${square && '²'}`); // notes are in ASCII
    return `${others.length ? `${others.length + 1} images${example}` : name}: ${words}.`;
  });
}

function phases() {
  const counts = tallied(images.get(state.image)?.nuclei ?? []);
  const buttons = Object.keys(counts).sort((a, b) => classes().indexOf(a) - classes().indexOf(b)).map((name) => {
    const nucleus = images.get(state.image).nuclei.find((n) => phaseOf(n) === name);
    const act = () => {
      if (!state.hidden.delete(name)) state.hidden.add(name);
      phases();
      tell('hidden');
    };
    return button(act, { 'data-key': name, 'aria-pressed': !state.hidden.has(name) }, keyOf(nucleus), `${name} ${counts[name]}`);
  });
  replace(get('phases'), element('span', { class: 'quiet' }, 'Shown:'), ...buttons);
}

function pictures() {
  get('image').replaceChildren(...[...images.values()].map(({ about }) => element('option', { value: about.id }, `${about.name} (${about.n} ${about.n === 1 ? 'nucleus' : 'nuclei'})`)));
  get('image').value = state.image;
  get('save-picture').href = `api/images/${state.image}/overlay.png`;
  get('save-outlines').href = `api/images/${state.image}/outlines.zip`;
}
get('image').addEventListener('change', () => lookAt(get('image').value));
on('data said read', tellAll);
on('unfit', ({ words }) => {
  problem(words);
  asServer().catch(() => null); // shows the current calls
});
on('data said image', phases);
on('data image', pictures);

// --- keys and looks ---

document.addEventListener('keydown', (event) => {
  const isTyping = event.target.matches('input:not([type=checkbox]):not([type=range]), select, textarea') || document.querySelector('dialog[open]');
  if (isTyping || get('bench').hidden || event.altKey) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === 'a' && event.target.closest('#table, #gallery')) choose(state.listed);
    else if (key === 'z') undo();
    else return;
  } else if (/^[1-9]$/.test(key) && classes()[key - 1]) label(classes()[key - 1]);
  else if (key === 'x') label(NONE);
  else if (key === 'backspace') label('');
  else if (key === 'z') undo();
  else if (key === 'n' || key === 'p') step(key === 'n' ? 1 : -1, event.shiftKey);
  else if (key === 'escape' && state.here) choose([state.here]);
  else return;
  event.preventDefault();
});

const theme = (name) => {
  document.documentElement.dataset.theme = name;
  tell('theme');
};
const preferred = window.matchMedia('(prefers-color-scheme: dark)');
const wanted = () => localStorage.getItem('theme') ?? (preferred.matches ? 'dark' : 'light');
window.addEventListener('beforeprint', () => {
  theme('light');
  tell('print');
});
window.addEventListener('afterprint', () => {
  theme(wanted());
  tell('printed');
});
get('theme').addEventListener('click', () => {
  const next = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  localStorage.setItem('theme', next);
  theme(next);
});

try {
  theme(wanted());
  await sendUnsent();
  site = await api.visit();
  get('minutes').textContent = site.minutes;
  hasMap(site.has_map);
  beginComparing(asServer);
  // Regular visits keep the images on the server while the page is open.
  setInterval(() => api.visit().catch(() => null), 10_000 * Math.max(site.minutes, 1));
  get('model').replaceChildren(...site.models.map(({ name, title }) => element('option', { value: name }, title)));
  for (const name of site.examples) {
    const act = async () => {
      const file = await api.file(`static/${name}`).catch((error) => problem(error.message));
      if (file) give([file]);
    };
    get('examples').append(button(act, {}, `Try a simulated ${name.replace(/\..*/, '')}`));
  }
  await begin(callAgain, ownModel);
  noticed(site.images.length ? JSON.parse(sessionStorage.getItem('told') ?? '[]') : []);
  if (site.images.length) {
    showSettings();
    get('start').hidden = true;
    get('progress').hidden = false;
    await take(...site.images);
  }
  tellNotTaken();
  running = null;
  get('progress').hidden = true;
  document.body.dataset.ready = 'yes';
  if (due.length) giveDue();
  else if (images.size && localStorage.getItem('unread')) callAgain();
} catch (error) {
  running = null;
  get('progress').hidden = true;
  get('start').hidden = images.size > 0;
  problem({
    SecurityError: 'The browser keeps nothing for this page: allow cookies and site data for this address, and load it again.',
    LostError: `${error.message} Load the page again when it is back.`,
  }[error.name] ?? error.message);
}
