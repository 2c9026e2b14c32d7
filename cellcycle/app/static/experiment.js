// Many images: phases by condition, well or image, and the report.

import * as api from './api.js';
import { element, get } from './element.js';
import { all, images, on, percent } from './state.js';

let look = async () => {};

/** `asServer` shows the images as the server has them, because those are counted. */
export function beginComparing(asServer) {
  look = asServer;
}

/** Show the shares; differences to a control are in the report. */
async function show() {
  const rows = get('shares');
  rows.replaceChildren(element('p', { class: 'quiet', role: 'status' }, 'Counting ...'));
  get('open-experiment').disabled = true;
  try {
    await look();
    const labelled = all().filter((nucleus) => nucleus.said).length;
    get('as-called').hidden = !labelled;
    get('as-called').textContent = `These are the calls of the model, here and in the report: your ${labelled === 1 ? 'correction is' : `${labelled} corrections are`} not counted.`;
    const arms = await api.summary('');
    const phases = Object.keys(arms[0]?.shares ?? {});
    const head = ['', 'Nuclei', 'Images', ...phases].map((words) => element(words ? 'th' : 'td', words ? { scope: 'col' } : {}, words));
    const cell = ([value, low, high]) => element('td', {}, percent(value), element('small', {}, low == null ? '' : ` ${Math.round(100 * low)}–${Math.round(100 * high)}`));
    const body = arms.map((arm) => element('tr', {}, element('th', { scope: 'row' }, arm.arm), element('td', {}, arm.nuclei), element('td', {}, arm.images), ...phases.map((name) => cell(arm.shares[name]))));
    rows.replaceChildren(arms.length
      ? element('table', { class: 'scores shares' }, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...body))
      : element('p', {}, 'No nucleus can be counted.'));
    get('control').replaceChildren(element('option', { value: '' }, 'nothing'), ...arms.map(({ arm }) => element('option', { value: arm }, arm)));
  } catch (error) {
    rows.replaceChildren(element('p', { class: 'warning' }, error.message));
  }
  get('open-experiment').disabled = false;
  link();
}

function link() {
  get('save-report').href = `api/report.zip?${new URLSearchParams({ control: get('control').value })}`;
}

export function hasMap(is) {
  get('drop-map').hidden = !is;
  get('without-map').hidden = is;
  get('compared-by').textContent = is ? 'condition' : 'well or image';
}

get('open-experiment').addEventListener('click', show);
get('control').addEventListener('change', link);
on('read', () => get('experiment').open && show());
on('data', () => (get('open-experiment').hidden = images.size < 2));
