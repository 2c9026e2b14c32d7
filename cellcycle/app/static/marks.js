// Marks that distinguish phases without colour: hatches of bars, shapes of points, dashes of lines.

import { colourOf, phaseOf } from './state.js';

const PHASES = ['G1', 'S', 'G2', 'M'];
const NONE = 4; // no phase
const DASHES = [[], [9, 3], [9, 3, 2, 3], [2, 2.5], [4, 6]];
const TILE_PX = 5;
const hatches = [null, dots, slashes, rungs, null].map((draw) => draw && patternOf(draw));

function dots(context) {
  context.fillRect(0.5, 0.5, 1.4, 1.4);
  context.fillRect(3, 3, 1.4, 1.4);
}

function slashes(context) {
  for (const x of [-TILE_PX, 0, TILE_PX]) {
    context.moveTo(x - 1, TILE_PX + 1);
    context.lineTo(x + TILE_PX + 1, -1);
  }
  context.stroke();
}

function rungs(context) {
  context.fillRect(0, 1, TILE_PX, 1.4);
}

/** Return a hatch at the resolution of the screen. */
function patternOf(draw) {
  const fine = 4;
  const tile = Object.assign(document.createElement('canvas'), { width: fine * TILE_PX, height: fine * TILE_PX });
  const context = tile.getContext('2d');
  context.fillStyle = context.strokeStyle = '#000000';
  context.globalAlpha = 0.55;
  context.scale(fine, fine);
  draw(context);
  const pattern = context.createPattern(tile, 'repeat');
  pattern.setTransform(new DOMMatrix().scale(1 / fine));
  return pattern;
}

/** Return the number of a phase's mark; classes other than the four phases get them in turn. */
export function markOf(nucleus) {
  const [name, { classes }] = [phaseOf(nucleus), nucleus];
  if (PHASES.includes(name)) return PHASES.indexOf(name);
  return classes.includes(name) ? classes.filter((other) => !PHASES.includes(other)).indexOf(name) % NONE : NONE;
}

/** Return the dash pattern of an outline, in pixels of the screen. */
export const dashOf = (nucleus) => DASHES[markOf(nucleus)];

/** Fill a part of a bar with the colour and hatch of a nucleus. */
export function fillBar(context, nucleus, ...place) {
  const hatch = hatches[markOf(nucleus)];
  context.fillStyle = colourOf(nucleus);
  context.fillRect(...place);
  if (!hatch) return;
  context.fillStyle = hatch;
  context.fillRect(...place);
}

/** Draw a nucleus as a point: a disc, triangle, square or cross; a ring if it has no phase. */
export function drawPoint(context, nucleus, x, y, r) {
  const mark = markOf(nucleus);
  context.fillStyle = context.strokeStyle = colourOf(nucleus);
  context.lineWidth = Math.max(r / 1.7, 1.2);
  context.beginPath();
  if (mark === 1) [[0, -1.3], [1.25, 0.9], [-1.25, 0.9]].forEach(([dx, dy]) => context.lineTo(x + dx * r, y + dy * r));
  else if (mark === 2) context.rect(x - 0.95 * r, y - 0.95 * r, 1.9 * r, 1.9 * r);
  else if (mark === 3) {
    for (const side of [-1, 1]) {
      context.moveTo(x - 1.1 * r, y - 1.1 * r * side);
      context.lineTo(x + 1.1 * r, y + 1.1 * r * side);
    }
  } else context.arc(x, y, mark === NONE ? 0.8 * r : r, 0, 7);
  if (mark < 3) context.fill();
  else context.stroke();
}

/** Return a legend of a phase's marks: bar, point and line. */
export function keyOf(nucleus) {
  const key = Object.assign(document.createElement('canvas'), { className: 'key', width: 108, height: 36 });
  const context = key.getContext('2d');
  context.scale(3, 3);
  fillBar(context, nucleus, 0, 0.5, 11, 11);
  drawPoint(context, nucleus, 17.5, 6, 3.4);
  context.lineWidth = 2;
  context.setLineDash(dashOf(nucleus).map((px) => px * 0.7));
  context.beginPath();
  context.moveTo(23, 6);
  context.lineTo(36, 6);
  context.stroke();
  return key;
}
