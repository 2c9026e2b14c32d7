// DNA content: a histogram by phase, or DNA against area. A click or a drag selects; so do the arrow keys.

import { get, onFrame } from './element.js';
import { drawPoint, fillBar } from './marks.js';
import { all, choose, guessed, images, on, phaseOf, state } from './state.js';

const canvas = get('plot');
const words = get('plot-words');
const kind = get('plot-kind');
const MOST_BINS = 60;
const EDGE = { left: 34, right: 8, top: 8, bottom: 32 };
let shown = { nuclei: [], most: 5, area: 1, unit: 'N', bins: MOST_BINS };
let drag = null; // [x0, y0, x1, y1] on the canvas
let cursor = null; // first and last bin chosen by keyboard
let mine = []; // nuclei selected in this plot
const draw = onFrame(paint);

const width = () => canvas.clientWidth - EDGE.left - EDGE.right;
const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const height = () => canvas.clientHeight - EDGE.top - EDGE.bottom;
// Clipped at 0: the DNA of a small object beside a bright one can be negative.
const xOf = (dna) => EDGE.left + (Math.min(Math.max(dna, 0), shown.most) / shown.most) * width();
// Some room above, so that the topmost point is whole.
const yOf = (area) => EDGE.top + height() * (1 - Math.min(area / shown.area, 1) / 1.05);
const binOf = (dna) => Math.min(Math.max(Math.floor((dna / shown.most) * shown.bins), 0), shown.bins - 1);

function update() {
  const units = new Set([...images.values()].filter((image) => image.nuclei.length).map((image) => image.data.dna_unit));
  // Without a G1 peak the intensities of several images are not comparable.
  const unit = units.size === 1 ? [...units][0] : 'N';
  const isOfOne = unit === 'median' && images.size > 1;
  const nuclei = (isOfOne ? images.get(state.image)?.nuclei ?? [] : all()).filter(
    (n) => n.dna != null && images.get(n.image).data.dna_unit === unit && !state.hidden.has(phaseOf(n)));
  const sorted = nuclei.map((n) => n.dna).sort((a, b) => a - b);
  const high = sorted[Math.floor(0.99 * (sorted.length - 1))] ?? 0;
  shown = { nuclei, unit, most: Math.max(unit === 'N' ? 6 : 3, Math.ceil(high * 1.1)), isOfOne };
  shown.bins = Math.min(Math.max(Math.round(3 * Math.sqrt(nuclei.length)), 12), MOST_BINS);
  shown.area = nuclei.reduce((most, n) => Math.max(most, n.area ?? 0), 1);
  shown.guess = nuclei.map((n) => guessed(images.get(n.image))).find(Boolean) ?? '';
  get('dna-pane').classList.toggle('empty', nuclei.length < 2);
  const what = unit === 'N' ? 'in N: G1 has 2 N, G2 and M have 4 N' : '1 is the median nucleus';
  canvas.setAttribute('aria-label', `DNA content of ${nuclei.length} nuclei, ${what}. Left and right select a bar, with shift several.`);
  draw();
}

function paint() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  context.font = '12px system-ui, sans-serif';
  if (shown.nuclei.length < 2) {
    context.fillStyle = styled('--quiet');
    context.fillText(shown.isOfOne ? 'Without a G1 peak' : 'A histogram needs two nuclei.', EDGE.left, 30);
    if (shown.isOfOne) context.fillText('DNA of several images cannot be compared.', EDGE.left, 48);
    return;
  }
  axes(context);
  if (kind.value === 'bars') bars(context);
  else points(context);
  context.fillStyle = context.strokeStyle = styled('--strong');
  context.globalAlpha = 0.18;
  if (drag) {
    const [x0, y0, x1, y1] = drag;
    if (kind.value === 'bars') context.fillRect(x0, EDGE.top, x1 - x0, height());
    else context.fillRect(x0, y0, x1 - x0, y1 - y0);
  }
  if (cursor) {
    const [first, last] = [...cursor].sort((a, b) => a - b);
    context.fillRect(EDGE.left + (first / shown.bins) * width(), EDGE.top, ((last - first + 1) / shown.bins) * width(), height());
  }
  context.globalAlpha = 1;
}

function axes(context) {
  context.fillStyle = styled('--quiet');
  context.strokeStyle = styled('--line');
  context.textAlign = 'center';
  for (let dna = 0; dna <= shown.most; dna += shown.most > 8 ? 2 : 1) {
    context.beginPath();
    context.moveTo(xOf(dna), EDGE.top);
    context.lineTo(xOf(dna), EDGE.top + height());
    context.stroke();
    context.fillText(dna === shown.most ? `${dna}+` : dna, xOf(dna), EDGE.top + height() + 14);
  }
  const unit = shown.unit === 'N' ? 'DNA in N (G1 2 N, G2 and M 4 N)' : `DNA, 1 is the median nucleus${shown.isOfOne ? ' of this image' : ''}`;
  context.fillText(unit, EDGE.left + width() / 2, EDGE.top + height() + 28);
}

function bars(context) {
  const order = ['G1', 'S', 'G2', 'M'];
  const bins = Array.from({ length: shown.bins }, () => []);
  shown.nuclei.forEach((nucleus) => bins[binOf(nucleus.dna)].push(nucleus));
  bins.forEach((bin) => bin.sort((a, b) => order.indexOf(phaseOf(a)) - order.indexOf(phaseOf(b))));
  const most = Math.max(...bins.map((bin) => bin.length));
  const bottom = EDGE.top + height();
  const [step, wide] = [height() / most, width() / shown.bins];
  const some = state.chosen.size > 1;
  bins.forEach((bin, k) => bin.forEach((nucleus, n) => {
    context.globalAlpha = some && !state.chosen.has(nucleus) ? 0.35 : 1;
    fillBar(context, nucleus, EDGE.left + k * wide + 0.5, bottom - (n + 1) * step, wide - 1, step + 0.4);
  }));
  context.globalAlpha = 1;
  context.fillStyle = styled('--quiet');
  context.textAlign = 'right';
  context.fillText(String(most), EDGE.left - 5, EDGE.top + 10);
  context.fillText('0', EDGE.left - 5, bottom);
  if (shown.nuclei.includes(state.here)) {
    const x = EDGE.left + (binOf(state.here.dna) + 0.5) * wide;
    context.fillStyle = styled('--ink');
    context.beginPath();
    [[0, 1], [-5, 8], [5, 8]].forEach(([dx, dy]) => context.lineTo(x + dx, bottom + dy));
    context.fill();
  }
}

function points(context) {
  const some = state.chosen.size > 1;
  const radius = shown.nuclei.length > 2000 ? 1.6 : 3;
  for (const nucleus of shown.nuclei) {
    context.globalAlpha = some && !state.chosen.has(nucleus) ? 0.25 : 0.85;
    drawPoint(context, nucleus, xOf(nucleus.dna), yOf(nucleus.area), radius);
  }
  context.globalAlpha = 1;
  context.fillStyle = styled('--quiet');
  context.textAlign = 'left';
  context.fillText(`area, up to ${Math.round(shown.area)} µm²${shown.guess}`, EDGE.left + 4, EDGE.top + 10);
  if (!shown.nuclei.includes(state.here)) return;
  context.strokeStyle = styled('--ink');
  context.lineWidth = 2;
  context.beginPath();
  context.arc(xOf(state.here.dna), yOf(state.here.area), radius + 3, 0, 7);
  context.stroke();
}

function select(nuclei, said) {
  mine = nuclei;
  choose(nuclei);
  words.textContent = `${said}: ${nuclei.length} ${nuclei.length === 1 ? 'nucleus' : 'nuclei'} selected`;
}

function selectBins(first, last) {
  const found = shown.nuclei.filter((n) => binOf(n.dna) >= first && binOf(n.dna) <= last);
  const [low, high] = [first, last + 1].map((bin) => ((bin / shown.bins) * shown.most).toFixed(1));
  select(found, `${low} to ${last === shown.bins - 1 ? 'more' : high} ${shown.unit === 'N' ? 'N' : 'medians'}`);
}

canvas.addEventListener('pointerdown', (event) => {
  drag = [event.offsetX, event.offsetY, event.offsetX, event.offsetY];
  cursor = null;
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener('pointermove', (event) => {
  if (!drag) return;
  [drag[2], drag[3]] = [event.offsetX, event.offsetY];
  draw();
});
canvas.addEventListener('pointerup', () => {
  if (!drag) return;
  const [[x0, x1], [y0, y1]] = [[drag[0], drag[2]], [drag[1], drag[3]]].map((pair) => pair.sort((a, b) => a - b));
  drag = null;
  const binAt = (x) => Math.min(Math.max(Math.floor(((x - EDGE.left) / width()) * shown.bins), 0), shown.bins - 1);
  if (kind.value === 'bars') selectBins(binAt(x0), binAt(x1));
  else if (x1 - x0 < 4) {
    const distance = (n) => Math.hypot(xOf(n.dna) - x0, yOf(n.area) - y0);
    const nearest = shown.nuclei.reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
    if (nearest && distance(nearest) < 15) select([nearest], 'Nearest');
  } else {
    const isInside = (n) => xOf(n.dna) >= x0 && xOf(n.dna) <= x1 && yOf(n.area) >= y0 && yOf(n.area) <= y1;
    select(shown.nuclei.filter(isInside), 'In the frame');
  }
  draw();
});
canvas.addEventListener('keydown', (event) => {
  const turn = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!turn) return;
  const last = Math.min(Math.max((cursor?.[1] ?? Math.floor(shown.bins / 3)) + turn, 0), shown.bins - 1);
  cursor = [event.shiftKey && cursor ? cursor[0] : last, last];
  selectBins(Math.min(...cursor), Math.max(...cursor));
  event.preventDefault();
  event.stopPropagation();
  draw();
});
kind.addEventListener('change', draw);
on('data said hidden image', update);
on('chosen', () => {
  if (state.chosen.size === mine.length && mine.every((nucleus) => state.chosen.has(nucleus))) return;
  // The text describes a selection that no longer exists.
  cursor = null;
  words.textContent = '';
});
on('chosen theme', draw);
on('print', paint);
new ResizeObserver(draw).observe(canvas);
