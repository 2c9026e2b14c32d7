// The picture: zoom, pan, outlines by phase, scale bar; a click chooses a nucleus, shift and a drag choose many.

import * as api from './api.js';
import { get, onFrame } from './element.js';
import { dashOf } from './marks.js';
import { choose, colourOf, focus, guessed, images, on, phaseOf, state, tell } from './state.js';

const box = get('viewer');
const photo = get('photo');
const drawn = get('drawn');
const brightness = get('brightness');
const outlines = get('outlines');
const DOT_PX = 5;
const MOST_PX = 1e8; // most pixels of pictures in memory, four bytes each
const loaded = new Map(); // id -> pixels
const unscaled = document.createElement('canvas').getContext('2d');
let isFitted = true; // whether the picture fits its box
let room = [0, 0];
let place = { scale: 1, x: 0, y: 0 }; // transform from pixels of the image to those of the screen
let frame = null; // rectangle drawn by shift and a drag

const draw = onFrame(paint);
const image = () => images.get(state.image);

export async function viewOf(id) {
  const found = images.get(id);
  if (found && !found.view) {
    found.view = api.viewOf(id).then((bitmap) => remembered(id, bitmap)).catch(() => {
      found.view = null; // so that the next call tries again
      return null;
    });
  }
  return found?.view;
}

/** Keep a picture, and drop those loaded longest ago: two hundred fields would fill the memory. */
function remembered(id, bitmap) {
  loaded.delete(id);
  loaded.set(id, bitmap.width * bitmap.height);
  let total = [...loaded.values()].reduce((sum, size) => sum + size, 0);
  for (const [old, size] of loaded) {
    if (total <= MOST_PX) break;
    if (old === id || old === state.image) continue;
    total -= size;
    loaded.delete(old);
    if (images.has(old)) images.get(old).view = images.get(old).bitmap = null;
  }
  return bitmap;
}

async function show() {
  const shown = image();
  if (!shown) return draw();
  const id = state.image;
  const bitmap = await viewOf(id);
  // If the image was called again meanwhile, its object is new, but its picture is the same.
  if (state.image !== id || !image()) return;
  image().bitmap = bitmap;
  fit();
}

function fit() {
  const shown = image();
  if (!shown) return;
  const [height, width] = shown.data.shape;
  const scale = Math.min(box.clientWidth / width, box.clientHeight / height);
  place = { scale, x: (box.clientWidth - scale * width) / 2, y: (box.clientHeight - scale * height) / 2 };
  isFitted = true;
  draw();
}

/** Fit the picture into a box of new size; a zoomed picture keeps its centre. */
function resized() {
  const [width, height] = room;
  room = [box.clientWidth, box.clientHeight];
  if (isFitted) return fit();
  place = { ...place, x: place.x + (room[0] - width) / 2, y: place.y + (room[1] - height) / 2 };
  draw();
}

function zoom(factor, x = box.clientWidth / 2, y = box.clientHeight / 2) {
  const scale = Math.min(Math.max(place.scale * factor, 0.01), 60);
  const by = scale / place.scale;
  isFitted = false;
  place = { scale, x: x - by * (x - place.x), y: y - by * (y - place.y) };
  draw();
}

function pan(x, y) {
  isFitted = false;
  place = { ...place, x: place.x + x, y: place.y + y };
}

/** Clear a canvas and set it to its size on the screen; return its context in pixels of the image, and the pixel ratio. */
function contextOf(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(box.clientWidth * ratio), Math.round(box.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  context.setTransform(ratio * place.scale, 0, 0, ratio * place.scale, ratio * place.x, ratio * place.y);
  return [context, ratio];
}

function paint() {
  const shown = image();
  if (!shown) return [photo, drawn].forEach(contextOf); // clears them
  const [height, width] = shown.data.shape;
  const [under, ratio] = contextOf(photo);
  under.imageSmoothingEnabled = place.scale < 3;
  if (shown.bitmap) under.drawImage(shown.bitmap, 0, 0, width, height);
  photo.classList.toggle('drawn', Boolean(shown.bitmap));
  photo.style.filter = `brightness(${brightness.value})`;
  const [over] = contextOf(drawn);
  if (outlines.checked) outline(over, shown.nuclei.filter((nucleus) => !state.hidden.has(phaseOf(nucleus))), 1.6);
  outline(over, [...state.chosen].filter((nucleus) => nucleus.image === state.image), 2.6, '#ffffff');
  if (state.here?.image === state.image && shown.data.kind === 'field') {
    const [top, left, bottom, right] = state.here.box;
    const margin = 5 / place.scale;
    over.lineWidth = 1.6 / place.scale;
    over.setLineDash([5 / place.scale, 4 / place.scale]);
    over.strokeRect(left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin);
    over.setLineDash([]);
  }
  over.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (frame) {
    over.strokeStyle = '#ffffff';
    over.lineWidth = 1;
    over.strokeRect(frame.x, frame.y, frame.width, frame.height);
  }
  scaleBar(over, shown.data);
}

/** Draw outlines of the visible nuclei; those of a few screen pixels are dots. */
function outline(over, nuclei, width, colour) {
  const { scale, x, y } = place;
  const [x0, y0, x1, y1] = [-x / scale, -y / scale, (box.clientWidth - x) / scale, (box.clientHeight - y) / scale];
  over.lineWidth = width / scale;
  for (const nucleus of nuclei) {
    const [top, left, bottom, right] = nucleus.box;
    if (bottom < y0 || top > y1 || right < x0 || left > x1) continue;
    over.fillStyle = over.strokeStyle = colour ?? colourOf(nucleus);
    if ((bottom - top) * scale < DOT_PX) over.fillRect(left, top, right - left, bottom - top);
    // One path per nucleus, because the time for one path of all grows with the square of their number.
    else {
      over.setLineDash(colour ? [] : dashOf(nucleus).map((px) => px / scale));
      over.stroke(pathOf(nucleus));
    }
  }
  over.setLineDash([]);
}

function pathOf({ outline: line }) {
  const path = new Path2D();
  for (let k = 0; k < line.length; k += 2) path[k ? 'lineTo' : 'moveTo'](line[k], line[k + 1]);
  path.closePath();
  return path;
}

function scaleBar(over, data) {
  if (!data.pixel_size_um) return;
  const room = 120 / place.scale * data.pixel_size_um;
  const step = 10 ** Math.floor(Math.log10(room));
  const length = [5, 2, 1].find((n) => n * step <= room) * step;
  const width = length / data.pixel_size_um * place.scale;
  const [x, y] = [12, box.clientHeight - 14];
  const words = `${Number(length.toPrecision(2))} µm${guessed({ data })}`;
  over.font = '12px system-ui, sans-serif';
  over.fillStyle = '#000000aa';
  over.fillRect(x - 6, y - 22, Math.max(width, over.measureText(words).width) + 12, 32);
  over.fillStyle = '#ffffff';
  over.fillRect(x, y, width, 4);
  over.fillText(words, x, y - 6);
}

function nucleusAt(x, y) {
  const [px, py] = [(x - place.x) / place.scale - 0.5, (y - place.y) / place.scale - 0.5];
  return image()?.nuclei.find((nucleus) => {
    const [top, left, bottom, right] = nucleus.box;
    const isNear = py >= top - 1 && py <= bottom && px >= left - 1 && px <= right;
    return isNear && !state.hidden.has(phaseOf(nucleus)) && unscaled.isPointInPath(pathOf(nucleus), px, py, 'evenodd');
  });
}

const fingers = new Map();
let moved = 0;
const at = (event) => {
  const { left, top } = box.getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
};
box.addEventListener('pointerdown', (event) => {
  if (event.target.closest('button')) return;
  fingers.set(event.pointerId, at(event));
  moved = 0;
  if (event.shiftKey) frame = { ...at(event), width: 0, height: 0 };
  box.setPointerCapture(event.pointerId);
});
box.addEventListener('pointermove', (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const now = at(event);
  moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
  if (frame) Object.assign(frame, { width: now.x - frame.x, height: now.y - frame.y });
  else if (fingers.size === 2) {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const distance = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
    zoom(distance(now) / distance(before), other.x, other.y);
  } else if (moved > 3) pan(now.x - before.x, now.y - before.y);
  fingers.set(event.pointerId, now);
  draw();
});
const lift = (event) => {
  if (!fingers.delete(event.pointerId)) return;
  if (frame && moved > 6) {
    const [x0, x1] = [frame.x, frame.x + frame.width].sort((a, b) => a - b).map((x) => (x - place.x) / place.scale);
    const [y0, y1] = [frame.y, frame.y + frame.height].sort((a, b) => a - b).map((y) => (y - place.y) / place.scale);
    choose(image().nuclei.filter((n) => n.x >= x0 && n.x <= x1 && n.y >= y0 && n.y <= y1 && !state.hidden.has(phaseOf(n))));
  } else if (moved <= 3 && event.type === 'pointerup') {
    const { x, y } = at(event);
    const found = nucleusAt(x, y);
    if (found) focus(found, event.ctrlKey || event.metaKey || event.shiftKey);
  }
  frame = null;
  draw();
};
box.addEventListener('pointerup', lift);
box.addEventListener('pointercancel', lift);
box.addEventListener('wheel', (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), at(event).x, at(event).y);
}, { passive: false });
box.addEventListener('keydown', (event) => {
  const moves = { ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60) };
  const acts = { ...moves, '+': () => zoom(1.3), '-': () => zoom(1 / 1.3), 0: fit };
  if (!(event.key in acts)) return;
  acts[event.key]();
  event.preventDefault();
  event.stopPropagation();
  draw();
});
for (const [id, act] of [['zoom-in', () => zoom(1.4)], ['zoom-out', () => zoom(1 / 1.4)], ['zoom-fit', fit]]) {
  get(id).addEventListener('click', act);
}
brightness.addEventListener('input', () => {
  draw();
  tell('brightness');
});
outlines.addEventListener('change', draw);
new ResizeObserver(resized).observe(box);

/** Move the picture so that the nucleus in focus is visible, unless it already is. */
function follow() {
  const { here } = state;
  if (here?.image === state.image) {
    const [x, y] = [place.x + here.x * place.scale, place.y + here.y * place.scale];
    if (x < 0 || y < 0 || x > box.clientWidth || y > box.clientHeight) {
      pan(box.clientWidth / 2 - x, box.clientHeight / 2 - y);
    }
  }
  draw();
}
on('image', show);
window.addEventListener('online', show);
on('chosen', follow);
on('said hidden data', draw);
// When printed, the picture keeps its proportions.
on('print', () => box.style.setProperty('--shape', `${photo.width} / ${photo.height}`));

/** Draw a nucleus with its surroundings on a canvas, from the picture for the screen; return whether that was loaded. */
export async function drawNucleus(canvas, nucleus, { margin = 1.5, stretch = false } = {}) {
  const shown = images.get(nucleus.image);
  const bitmap = await viewOf(nucleus.image);
  if (!bitmap || !shown) return false;
  const [height, width] = shown.data.shape;
  const shrunk = bitmap.width / width;
  const [top, left, bottom, right] = nucleus.box;
  const isCrop = shown.data.kind === 'nucleus';
  const side = isCrop ? Math.max(height, width) : Math.max(bottom - top, right - left, 8) * margin;
  const [y, x] = isCrop ? [height / 2, width / 2] : [(top + bottom) / 2, (left + right) / 2];
  const context = canvas.getContext('2d', { willReadFrequently: stretch });
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, (x - side / 2) * shrunk, (y - side / 2) * shrunk, side * shrunk, side * shrunk, 0, 0, canvas.width, canvas.height);
  if (stretch) stretchOut(context, canvas);
  return true;
}

function stretchOut(context, { width, height }) {
  const pixels = context.getImageData(0, 0, width, height);
  let [low, high] = [255, 0];
  for (let k = 0; k < pixels.data.length; k += 4) {
    if (!pixels.data[k + 3]) continue;
    low = Math.min(low, pixels.data[k]);
    high = Math.max(high, pixels.data[k]);
  }
  for (let k = 0; k < pixels.data.length; k += 4) {
    const value = ((pixels.data[k] - low) * 255) / Math.max(high - low, 1);
    pixels.data[k] = pixels.data[k + 1] = pixels.data[k + 2] = value;
  }
  context.putImageData(pixels, 0, 0);
}
