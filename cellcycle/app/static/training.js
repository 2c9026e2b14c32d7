// The labelling loop: save and load corrections, train a model on them, and call the images again with it.

import * as api from './api.js';
import { button, element, get } from './element.js';
import { NONE, all, classes, on, percent, saved, tallied, timeLeft } from './state.js';

export const OWN = '/own'; // as in fine_tune.py
const STEP_MS = 1000;
let watching = false;
let begun = null; // running training: {done, at}, rounds done at the first look, and its time
let callAgain = () => {};
let known = () => {};

/** `again` calls all images again with the chosen model; `models` receives the card of the visitor's own model, or null. */
export async function begin(again, models) {
  [callAgain, known] = [again, models];
  show(await api.training());
}

function show({ missing, running, waiting, problem, model }) {
  const isDue = Boolean(running || waiting);
  get('train').disabled = Boolean(missing) || isDue;
  get('training').hidden = !isDue;
  if (!isDue) begun = null;
  else {
    const [bar, words] = get('training').children;
    const [done, total] = running ?? [];
    if (total) bar.value = done / total;
    else bar.removeAttribute('value');
    if (waiting) words.textContent = `Waiting: one training runs at a time, and ${waiting === 1 ? 'one comes' : `${waiting} come`} before yours.`;
    else words.textContent = total ? `${done} of ${total} rounds${timeLeft(secondsLeft(done, total))}` : 'Getting ready ...';
    watch();
  }
  known(model?.card ?? null);
  get('trained').replaceChildren(
    ...[missing, problem].filter(Boolean).map(warning),
    ...(model && !isDue ? result(model) : []),
  );
}

/** Return a sentence on how the choice of labelled nuclei biases the numbers. */
function drawn() {
  const labelled = all().filter((nucleus) => nucleus.said);
  const isCorrecting = 2 * labelled.filter((nucleus) => nucleus.said !== nucleus.call).length > labelled.length;
  if (isCorrecting) return 'You labelled mostly nuclei with wrong calls, which are hard ones: of all your nuclei more are right than these numbers say.';
  return 'Labelled nuclei are not a random sample: of all your nuclei more or fewer may be right than these numbers say.';
}

/** Return the estimated seconds left. Time counts from the rounds done at the first look, so that the start is excluded. */
function secondsLeft(done, total) {
  if (!begun || done < begun.done) begun = { done, at: Date.now() };
  return done > begun.done ? ((Date.now() - begun.at) / 1000 / (done - begun.done)) * (total - done) : 0;
}

const warning = (words) => element('p', { class: 'warning' }, `${words[0].toUpperCase()}${words.slice(1).replace(/\.$/, '')}.`);

function result(model) {
  const isBetter = model.before < model.after;
  const counts = Object.entries(model.counts).filter(([, n]) => n).map(([name, n]) => `${name} ${n}`).join(', ');
  const [low, high] = model.gain.map((gain) => `${gain < 0 ? '\u2212' : '+'}${Math.abs(Math.round(100 * gain))}`);
  const chance = !isBetter ? 'so label more, of more images, to teach it'
    : model.gain[0] > 0 ? 'so it learned something that holds for cells like these'
      : 'so this may be chance: label more, of more images, before you rely on it';
  const act = () => {
    get('model').value = OWN;
    get('corrections').close();
    callAgain();
  };
  const again = button(act, { id: 'call-own', class: 'strong' }, 'Call my images with it');
  return [
    element('p', { class: 'call' }, `Right before ${percent(model.before)}, after ${percent(model.after)}`),
    element('p', {}, `of ${model.n} labelled nuclei (${counts}) of ${model.n_images} ${model.n_images === 1 ? 'image' : 'images'}, each held out in turn, phases weighted equally. `
      + `By so many nuclei, the change lies between ${low} and ${high} points (95\u00a0% interval), ${chance}.`),
    ...(isBetter ? [] : [element('p', { class: 'warning' }, `It did not get better: the calls of ${model.from} stay; only its confidence was fitted to your nuclei.`)]),
    element('p', { class: 'quiet' }, `${drawn()} ${model.notes.join(' ')}`),
    element('p', {}, again, ' ', element('a', { class: 'button', id: 'save-model', href: 'api/model.zip', download: '', title: 'For cellcycle predict --model, unpacked, ZIP' }, 'Save the model')),
  ];
}

async function watch() {
  if (watching) return;
  watching = true;
  while (watching) {
    await new Promise((go) => setTimeout(go, STEP_MS));
    const state = await api.training().catch(() => null); // if the connection is lost, the next request may succeed
    if (!state) continue;
    watching = Boolean(state.running || state.waiting);
    show(state);
  }
}

async function asked(method) {
  try {
    await saved();
    show(await api.training(method));
  } catch (error) {
    get('trained').replaceChildren(warning(error.message));
  }
}
get('open-corrections').addEventListener('click', () => asked('GET'));
get('train').addEventListener('click', () => asked('POST'));
get('stop').addEventListener('click', () => asked('DELETE'));

on('data said', () => {
  const said = all().filter((nucleus) => nucleus.said);
  get('open-corrections').hidden = !said.length;
  get('open-corrections').textContent = `${said.length} ${said.length === 1 ? 'correction' : 'corrections'}`;
  const counts = tallied(said);
  const named = [...classes(), ...(counts['no nucleus'] ? ['no nucleus'] : [])].map((name) => `${name} ${counts[name] ?? 0}`).join(', ');
  const confirmed = said.filter((nucleus) => nucleus.said !== NONE && nucleus.said === nucleus.call).length;
  get('corrections-told').textContent = `${said.length} of ${all().length} nuclei: ${named}. Confirmed as called: ${confirmed}.`;
});
