// The card of a model: its training data, scores and limits.

import { element } from './element.js';
import { percent } from './state.js';

const TESTS = {
  simulated: 'Right on simulated nuclei it had not seen',
  fields: 'Right in whole simulated fields, phases weighted equally',
  'real: jurkat, each by itself': 'Right on real cells it had not seen (Jurkat), by their picture alone, phases weighted equally',
  'real: jurkat, with the DNA of the slide': 'The same with the DNA of their slide',
  'real: mitocheck, each by itself': 'Ranks a mitosis above another cell, where chance does so in 50\u00a0% (real HeLa cells)',
  'real: rpe1, fields together': 'Ranks a cell in S above another, where chance does so in 50\u00a0% (real RPE-1 cells, S by EdU)',
  'real: fields, each by itself': 'Calls M in fields of many laboratories, where few nuclei are in M',
  held_out: 'Right on cells like those it learned from, held out, classes weighted equally',
};
const each = (texts) => [...new Set(texts.filter(Boolean))];
const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}.`;
const score = (found) => {
  if (!found) return 'not measured';
  const [value, low, high] = found;
  return percent(value) + (low == null ? '' : ` (${Math.round(100 * low)} to ${Math.round(100 * high)})`);
};

function measured(models) {
  const tests = Object.entries(TESTS).filter(([test]) => models.some(({ scores }) => scores[test]));
  const heads = models.map(({ title }) => element('th', { scope: 'col' }, title));
  const rows = tests.map(([test, words]) =>
    element('tr', {}, element('th', { scope: 'row' }, words), ...models.map(({ scores }) => element('td', {}, score(scores[test])))));
  if (!rows.length) return [];
  return [element('table', { class: 'scores' }, element('thead', {}, element('tr', {}, element('td'), ...heads)), element('tbody', {}, ...rows))];
}

/** Return a card of one model, or of two, of which the first is for images with a clear G1 peak. */
export function card({ title, models }) {
  const [anchored, plain] = models;
  const rule = plain && `Looks at each image first: where the DNA content of its nuclei shows a clear G1 peak, ${anchored.title} calls them; everywhere else ${plain.title}, which needs nothing but the picture.`;
  const paragraphs = (texts, kind = '') => texts.map((text) => element('p', { class: kind }, text));
  const calibrated = ({ calibrated_on: on, coverage }) => on && `Its confidence was measured on ${on}. What such a nucleus \u201ccould be\u201d included its true phase in ${percent(coverage)} of cases; yours may differ.`;
  return [
    element('h2', { id: 'about-title' }, title), ...paragraphs(each([rule])),
    ...paragraphs(each(models.map(({ warning }) => sentence(warning))), 'warning'), ...measured(models),
    element('h3', {}, 'Its limits'), element('ul', {}, ...each(models.flatMap(({ limits }) => limits)).map((text) => element('li', {}, text))),
    ...paragraphs(each([...models.map((model) => `Learned from ${model.learned_from}.`), ...models.map(calibrated)])),
    ...paragraphs([models.map((model) => `${model.title}: version ${model.version}, licence ${model.licence}`).join(', ')], 'quiet'),
  ];
}
