// The loop: corrections out and in again, a model trained on them, and the images called again with it.

import * as api from './api.js';
import { element } from './element.js';
import { NONE, all, classes, on, percent, saved, tallied } from './state.js';

export const OWN = 'own';
const get = (id) => document.getElementById(id);
const STEP_MS = 1000;
let watching = false;
let callAgain = () => {};
let known = () => {};

/** `again` calls all images again with the chosen model; `models` takes the card of the visitor's own model, or null. */
export async function begin(again, models) {
  [callAgain, known] = [again, models];
  show(await api.training());
}

function show({ missing, running, problem, model }) {
  get('train').disabled = Boolean(missing || running);
  get('training').hidden = !running;
  if (running) {
    const [bar, words] = get('training').children;
    if (running.total) bar.value = running.done / running.total;
    else bar.removeAttribute('value');
    const left = running.left_s == null ? '' : running.left_s > 90 ? `, about ${Math.round(running.left_s / 60)} min left` : `, about ${running.left_s} s left`;
    words.textContent = running.total ? `${running.done} of ${running.total} rounds${left}` : 'Getting ready ...';
    watch();
  }
  known(model?.card ?? null);
  get('trained').replaceChildren(
    ...[missing, problem].filter(Boolean).map((text) => element('p', { class: 'warning' }, text)),
    ...(model && !running ? result(model) : []),
  );
}

function result(model) {
  const counts = Object.entries(model.counts).filter(([, n]) => n).map(([name, n]) => `${name} ${n}`).join(', ');
  const [low, high] = model.gain.map((gain) => `${gain < 0 ? '\u2212' : '+'}${Math.abs(Math.round(100 * gain))}`);
  const chance = !model.is_better ? 'so label more, of more images, if you would teach it'
    : model.gain[0] > 0 ? 'so it learned something that holds for cells like these'
      : 'so this may be chance: label more, of more images, before you rely on it';
  const again = element('button', { type: 'button', id: 'call-own', class: 'strong' }, 'Call my images with it');
  again.addEventListener('click', () => {
    get('model').value = OWN;
    get('corrections').close();
    callAgain();
  });
  return [
    element('p', { class: 'call' }, `Right before ${percent(model.before)}, after ${percent(model.after)}`),
    element('p', {}, `of ${model.n} labelled nuclei (${counts}) of ${model.n_images} ${model.n_images === 1 ? 'image' : 'images'}, each held out in turn, phases weighing alike. `
      + `Judged by so many, the change lies between ${low} and ${high} points (95 % interval), ${chance}.`),
    ...(model.is_better ? [] : [element('p', { class: 'warning' }, `It did not get better: what ${model.from} calls stays, only how sure it is was fitted to your nuclei.`)]),
    element('p', { class: 'quiet' }, `Whoever labels what looks wrong labels hard nuclei: of all your nuclei more are right than these numbers say. ${model.notes.join(' ')}`),
    element('p', {}, again, ' ', element('a', { class: 'button', id: 'save-model', href: '/api/model.zip', download: '', title: 'For cellcycle predict --model, unpacked, ZIP' }, 'Save the model')),
  ];
}

async function watch() {
  if (watching) return;
  watching = true;
  for (let wait = STEP_MS; ; wait = STEP_MS) {
    await new Promise((go) => setTimeout(go, wait));
    const state = await api.training().catch(() => null); // a lost connection: the next look may find it
    if (!state) continue;
    if (!state.running) watching = false;
    show(state);
    if (!state.running) return;
  }
}

async function asked(method) {
  try {
    await saved();
    show(await api.training(method));
  } catch (error) {
    get('trained').replaceChildren(element('p', { class: 'warning' }, `${error.message[0].toUpperCase()}${error.message.slice(1)}.`));
  }
}
get('train').addEventListener('click', () => asked('POST'));
get('stop').addEventListener('click', () => asked('DELETE'));

on('data said', () => {
  const said = all().filter((nucleus) => nucleus.said);
  get('open-corrections').hidden = !said.length;
  get('open-corrections').textContent = `${said.length} ${said.length === 1 ? 'correction' : 'corrections'}`;
  const counts = tallied(said);
  const named = [...classes(), ...(counts['no nucleus'] ? ['no nucleus'] : [])].map((name) => `${name} ${counts[name] ?? 0}`).join(', ');
  const confirmed = said.filter((nucleus) => nucleus.said !== NONE && nucleus.said === nucleus.call).length;
  get('corrections-told').textContent = `${said.length} of ${all().length} nuclei: ${named}. ${confirmed} of them confirm the call.`;
});
