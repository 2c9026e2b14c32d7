// The nuclei as a table or as a gallery, in one order; only visible ones are drawn.

import { markOf } from './marks.js';
import { NONE, changed, choose, classes, colourOf, dnaOf, focus, guessed, images, on, percent, phaseOf, state, step } from './state.js';
import { drawNucleus } from './viewer.js';
import { button, element, get } from './element.js';

// Heights scale with the browser's font size.
const REM_PX = parseFloat(getComputedStyle(document.documentElement).fontSize);
const ROW_PX = 1.75 * REM_PX;
const TILE_PX = 80 + 1.25 * REM_PX; // height of a row of tiles, with the gap
const table = get('table');
const gallery = get('gallery');
const wall = gallery.firstElementChild; // has the height of all tiles
const wanted = get('wanted');
const order = get('order');
const ORDERS = [
  ['doubt', 'Most doubtful first'], ['strange', 'Strangest first'], ['phase', 'By phase'], ['number', 'As numbered'],
  ['dna', 'Most DNA first'], ['area', 'Largest first'],
];
const swatch = (nucleus) => element('i', { class: `swatch mark${markOf(nucleus)}`, colour: colourOf(nucleus) });
// Columns that are sorted in descending order at the first click.
const FALLING = ['dna', 'area'];
const columns = () => [
  ...(images.size > 1 ? [['name', 'Image', (n) => n.name]] : []),
  ['number', 'Nucleus', (n) => n.id],
  ['phase', 'Phase', (n) => [swatch({ ...n, said: '' }), n.call || 'no call']],
  ['sure', 'Sure', (n) => (n.call ? percent(n.sure) : '')],
  ['could_be', 'Could be', (n) => n.could_be.replaceAll(';', ' or ')],
  ['said', 'You said', (n) => n.said && phaseOf(n)],
  ...(state.listed.some((n) => dnaOf(n) != null) ? [['dna', 'DNA', (n) => (dnaOf(n) == null ? '' : n.dna.toFixed(1) + (images.get(n.image)?.data.dna_unit === 'N' ? '\u00a0N' : ''))]] : []),
  ['area', 'Area', (n) => (n.area == null ? '' : `${Math.round(n.area)}\u00a0µm²${guessed(images.get(n.image))}`)],
  ['why', 'Worth a look because', (n) => n.why],
];
// Whether the parts of the page are below each other (style.css).
const isStacked = matchMedia('(max-width: 62.5em), (max-height: 40em)');
let isGallery = false;
let isPrinted = false; // then all nuclei are drawn
let anchor = null; // first nucleus of a range chosen by shift and click

function choices() {
  const names = classes();
  const fill = (select, options) => {
    const before = select.value;
    select.replaceChildren(...options.map(([value, words]) => element('option', { value }, words)));
    select.value = options.some(([value]) => value === before) ? before : options[0][0];
  };
  fill(wanted, [['all', 'All nuclei'], ['doubt', 'Worth a look'], ['chosen', 'Selected'], ['said', 'Labelled by you'], ...names.map((name) => [name, name])]);
  fill(order, [...ORDERS, ...names.map((name) => [`typical ${name}`, `Most typical of ${name}`]), ...(ORDERS.some(([by]) => by === state.order.by) || state.order.by.startsWith('typical') ? [] : [[state.order.by, 'By the column']])]);
  order.value = state.order.by;
}

function render() {
  table.hidden = isGallery;
  gallery.hidden = !isGallery;
  fill();
}

function fill() {
  const selected = state.chosen.size > 1 ? `, ${state.chosen.size} selected` : '';
  get('counted').textContent = state.listed.length || state.wanted === 'all' ? `${state.listed.length} listed${selected}` : 'No nucleus matches; show all nuclei.';
  if (isGallery) fillGallery();
  else fillTable();
}

function fillTable() {
  const { listed } = state;
  const shown = columns();
  const heads = shown.map(([by, words]) => {
    const turn = state.order.by === by ? state.order.turn * (FALLING.includes(by) ? -1 : 1) : 0;
    const head = button(() => sortBy(by), {}, words + (turn ? (turn > 0 ? ' ▴' : ' ▾') : ''));
    return element('th', { scope: 'col', 'aria-sort': turn ? (turn > 0 ? 'ascending' : 'descending') : 'none' }, head);
  });
  const first = isPrinted ? 0 : Math.max(0, Math.floor(table.scrollTop / ROW_PX) - 10);
  const last = isPrinted ? listed.length : Math.min(listed.length, first + Math.ceil(table.clientHeight / ROW_PX) + 20);
  const rows = listed.slice(first, last).map((nucleus, k) => {
    const cells = shown.map(([by, , cell]) => element('td', by === 'why' || by === 'name' ? { title: cell(nucleus) } : {}, cell(nucleus)));
    const row = element('tr', { 'aria-rowindex': first + k + 2, class: marks(nucleus) }, ...cells);
    row.addEventListener('click', (event) => clicked(event, nucleus));
    return row;
  });
  const space = (n) => {
    const row = element('tr', { 'aria-hidden': 'true' }, element('td', { colspan: shown.length }));
    row.firstChild.style.height = `${n * ROW_PX}px`;
    return n ? [row] : [];
  };
  const body = element('tbody', {}, ...space(first), ...rows, ...space(listed.length - last));
  const { scrollTop, scrollLeft } = table;
  const hadFocus = [...table.querySelectorAll('th button')].indexOf(document.activeElement);
  const head = element('thead', {}, element('tr', {}, ...heads));
  table.replaceChildren(element('table', { 'aria-rowcount': listed.length + 1, 'aria-label': 'Nuclei' }, head, body));
  Object.assign(table, { scrollTop, scrollLeft });
  if (hadFocus >= 0) table.querySelectorAll('th button')[hadFocus]?.focus();
}

const marks = (nucleus) => [state.chosen.has(nucleus) && 'chosen', state.here === nucleus && 'here'].filter(Boolean).join(' ');

function sortBy(by) {
  state.order = { by, turn: state.order.by === by ? -state.order.turn : 1 };
  listAgain();
}

/** Update the list; the nucleus in focus stays visible. */
function listAgain() {
  changed();
  mark();
}

const across = () => Math.max(1, getComputedStyle(wall).gridTemplateColumns.split(' ').length);

/** Make the visible tiles, with empty space for the others; tiles that stay are not drawn again. */
function fillGallery() {
  const { listed } = state;
  const { scrollTop } = gallery;
  const [wide, top] = [across(), isPrinted ? 0 : Math.max(0, Math.floor(scrollTop / TILE_PX) - 2)];
  const rows = Math.ceil(listed.length / wide);
  const end = isPrinted ? rows : Math.min(rows, top + Math.ceil(gallery.clientHeight / TILE_PX) + 5);
  const before = new Map([...wall.children].map((tile) => [tile.nucleus, tile]));
  const tiles = listed.slice(top * wide, end * wide).map((nucleus, k) => {
    const tile = before.get(nucleus) ?? tileOf(nucleus);
    tile.id = `tile-${nucleus.order}`;
    describe(tile);
    // Draw again if the picture was not loaded before.
    if (!tile.classList.contains('drawn')) drawNucleus(tile.firstChild, nucleus).then((isDrawn) => tile.classList.toggle('drawn', isDrawn));
    tile.setAttribute('aria-selected', state.chosen.has(nucleus));
    tile.setAttribute('aria-posinset', top * wide + k + 1);
    tile.setAttribute('aria-setsize', listed.length);
    tile.classList.toggle('here', state.here === nucleus);
    return tile;
  });
  wall.replaceChildren(...tiles);
  wall.style.paddingTop = `${6 + Math.min(top, rows) * TILE_PX}px`;
  wall.style.paddingBottom = `${6 + Math.max(rows - end, 0) * TILE_PX}px`;
  gallery.scrollTop = scrollTop;
  const here = wall.querySelector('.here');
  if (here) gallery.setAttribute('aria-activedescendant', here.id);
  else gallery.removeAttribute('aria-activedescendant');
}

function tileOf(nucleus) {
  const picture = element('canvas', { width: 144, height: 136 });
  const tile = element('div', { class: 'tile', role: 'option' }, picture, element('span', {}));
  tile.nucleus = nucleus;
  tile.addEventListener('click', (event) => clicked(event, nucleus));
  return tile;
}

function describe(tile) {
  const { nucleus } = tile;
  const said = `${phaseOf(nucleus)}${nucleus.said ? ' (you)' : ''}`;
  const words = `${said}${nucleus.why ? `, ${nucleus.why}` : ''}`;
  tile.setAttribute('aria-label', `Nucleus ${nucleus.id} of ${nucleus.name}: ${words}`);
  tile.title = `Nucleus ${nucleus.id}: ${words}`;
  const short = nucleus.said === NONE ? 'none' : phaseOf(nucleus);
  tile.lastChild.replaceChildren(swatch(nucleus), element('b', {}, nucleus.said ? `✓ ${short}` : short));
}

function clicked(event, nucleus) {
  if (!event.shiftKey) {
    focus(nucleus, event.ctrlKey || event.metaKey);
    anchor = nucleus;
    if (isStacked.matches) get('nucleus').scrollIntoView({ block: 'nearest' });
    return;
  }
  // The range begins at the nucleus clicked last, else at the one in focus, if listed.
  const begin = [anchor, state.here, nucleus].find((n) => state.listed.includes(n));
  const [from, to] = [begin, nucleus].map((n) => state.listed.indexOf(n)).sort((a, b) => a - b);
  choose(state.listed.slice(from, to + 1), nucleus);
  anchor = begin;
}

/** Return the visible part (gallery or table), its number of nuclei per row, and the height of a row. */
const laidOut = () => (isGallery ? [gallery, across(), TILE_PX] : [table, 1, ROW_PX]);

function mark() {
  if (state.chosen.size === 1) anchor = state.here;
  const at = state.listed.indexOf(state.here);
  const [part, wide, px] = laidOut();
  if (at >= 0) {
    const [top, room] = [Math.floor(at / wide) * px, part.clientHeight - (isGallery ? 1 : 2) * px];
    if (top < part.scrollTop) part.scrollTop = top;
    else if (top > part.scrollTop + room) part.scrollTop = top - room;
  }
  fill();
}

function keyed(event) {
  const [part, wide, px] = laidOut();
  const page = wide * Math.max(1, Math.floor(part.clientHeight / px) - 1);
  const by = { ArrowDown: wide, ArrowUp: -wide, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
  if (isGallery) Object.assign(by, { ArrowRight: 1, ArrowLeft: -1 });
  if (!(event.key in by)) return;
  event.preventDefault();
  step(by[event.key], event.shiftKey);
}

for (const part of [table, gallery]) {
  part.addEventListener('keydown', keyed);
  part.addEventListener('scroll', () => requestAnimationFrame(() => !part.hidden && fill()));
  new ResizeObserver(() => {
    if (part.hidden) return;
    // The nucleus in focus stays visible if it was.
    if (part.querySelector('.here')) mark();
    else fill();
  }).observe(part);
}
wanted.addEventListener('change', () => {
  state.wanted = wanted.value;
  listAgain();
});
order.addEventListener('change', () => {
  state.order = { by: order.value, turn: 1 };
  listAgain();
});
for (const [id, value] of [['as-table', false], ['as-gallery', true]]) {
  get(id).addEventListener('click', () => {
    isGallery = value;
    get('as-table').setAttribute('aria-pressed', !value);
    get('as-gallery').setAttribute('aria-pressed', value);
    render();
    mark();
  });
}
get('select-all').addEventListener('click', () => choose(state.listed));
on('data list', () => {
  choices();
  render();
});
on('said', fill);
for (const name of ['print', 'printed']) {
  on(name, () => {
    isPrinted = name === 'print';
    fill();
  });
}
window.addEventListener('online', fill);
on('chosen', mark);
