// The nucleus in focus: its picture, its phase in words, one bar per phase, reasons for doubt, and buttons for labels.

import * as api from './api.js';
import { button, element, get, replace } from './element.js';
import { NONE, classes, colourOf, guessed, images, label, on, percent, phaseOf, state, step, undo, unsaved } from './state.js';
import { markOf } from './marks.js';
import { drawNucleus } from './viewer.js';

const pane = get('nucleus');
const MEANING = {
  G1: 'two sets of chromosomes (2\u00a0N)', S: 'the DNA is being copied', G2: 'four sets (4\u00a0N), before division', M: 'mitosis',
};

let last = null;
const brightness = () => `brightness(${get('brightness').value})`;

function show() {
  const nucleus = state.here;
  if (nucleus !== last) pane.scrollTop = 0;
  last = nucleus;
  if (!nucleus) return pane.replaceChildren(element('p', { class: 'quiet' }, 'No nucleus.'));
  const canvas = element('canvas', { width: 260, height: 260, role: 'img', 'aria-label': `Nucleus ${nucleus.id} of ${nucleus.name}, as the microscope saw it` });
  const called = { ...nucleus, said: '' };
  drawNucleus(canvas, nucleus, { margin: 2.2, stretch: true });
  canvas.style.filter = brightness();
  const figures = element('div', { class: 'figures' }, element('figure', {}, canvas), element('div', { class: 'head' },
    element('p', { class: 'call' }, element('span', { class: `swatch mark${markOf(called)}`, colour: colourOf(called) }), nucleus.call || 'No call'),
    element('small', {}, MEANING[nucleus.call] ?? ''), ...sure(nucleus)));
  const facts = [
    nucleus.area != null && `Area ${Math.round(nucleus.area)}\u00a0µm²${guessed(images.get(nucleus.image))}`,
    nucleus.dna != null && images.get(nucleus.image).data.dna_unit === 'N' && `DNA content ${nucleus.dna.toFixed(1)}\u00a0N`,
  ].filter(Boolean).join(' · ');
  replace(pane,
    element('p', { class: 'name' }, `Nucleus ${nucleus.id} of ${nucleus.name}`),
    figures,
    ...(nucleus.call ? [bars(nucleus)] : []),
    ...(nucleus.why ? [element('p', { class: 'warning' }, `Worth a look: ${nucleus.why}.`)] : []),
    element('p', { class: 'quiet' }, facts),
    buttons(nucleus, figures),
  );
}

function sure(nucleus) {
  if (!nucleus.call || nucleus.sure == null) return [];
  const names = nucleus.could_be.split(';').filter(Boolean);
  let more = '';
  if (names.length > 1) more = `, could be ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
  else if (names.length && !nucleus.why) more = ', no other phase is likely';
  return [element('p', { class: 'sure' }, `${percent(nucleus.sure)} sure${more}`)];
}

function bars(nucleus) {
  const rows = nucleus.classes.map((name, k) => {
    const bar = element('div', { colour: nucleus.colours[name] });
    bar.style.width = `${100 * (nucleus.p[k] ?? 0)}%`;
    return element('tr', {}, element('th', { scope: 'row' }, name), element('td', { class: 'track' }, bar), element('td', {}, percent(nucleus.p[k])));
  });
  return element('table', { class: 'bars', 'aria-label': 'Probabilities' }, element('tbody', {}, ...rows));
}

function buttons(nucleus, figures) {
  const many = state.chosen.size > 1;
  const one = (words, key, act, pressed) => button(act, { 'aria-pressed': pressed }, element('kbd', { 'aria-hidden': 'true' }, key), words);
  const labels = classes().map((name, k) => one(name, String(k + 1), () => label(name), nucleus.said === name));
  labels.push(one('Not a nucleus', 'X', () => label(NONE), nucleus.said === NONE), one('Undo', 'Z', undo));
  const more = [one('Previous', 'P', () => step(-1)), one('Next', 'N', () => step(1))];
  if (nucleus.call) {
    const act = (event) => occlusion(nucleus, figures, event.currentTarget);
    more.push(button(act, { id: 'explain', title: 'See on which parts of the nucleus the call rests' }, 'Why?'));
  }
  return element('div', { class: 'foot' }, element('p', { id: 'asked' }, many ? `What are the ${state.chosen.size} selected?` : 'Is the call right? Say what you see'),
    element('div', { class: 'labels', role: 'group', 'aria-labelledby': 'asked' }, ...labels),
    element('div', { class: 'labels' }, ...more));
}

async function occlusion(nucleus, figures, asked) {
  asked.disabled = true;
  asked.textContent = 'Hiding parts of it ...';
  try {
    const bitmap = await api.occlusionOf(nucleus.image, nucleus.row);
    const canvas = element('canvas', { width: bitmap.width, height: bitmap.height, role: 'img', 'aria-label': 'Where the call comes from: yellow parts matter most' });
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    figures.firstChild.after(element('figure', {}, canvas, element('figcaption', {}, 'Yellow: the call rests on this')));
    if (asked === document.activeElement) asked.previousElementSibling.focus();
    asked.remove();
  } catch (error) {
    asked.textContent = error.message;
  }
}

/** Announce the nucleus in focus to screen readers; the gallery and choices of several announce themselves. */
function speak() {
  const { here, chosen } = state;
  const isTold = !here || chosen.size > 1 || document.activeElement === get('gallery');
  const called = here && [`${phaseOf(here)}${here.said ? ', as you say' : ''}`, here.call && `${percent(here.sure)} sure`, here.why].filter(Boolean).join(', ');
  get('heard').textContent = isTold ? '' : `Nucleus ${here.id} of ${here.name}: ${called}`;
}

on('chosen said list', show);
on('chosen', speak);
on('saved data', () => {
  const words = get('unsaved');
  words.textContent = unsaved();
  words.hidden = !words.textContent;
});
on('brightness', () => {
  const canvas = pane.querySelector('canvas');
  if (canvas) canvas.style.filter = brightness();
});
