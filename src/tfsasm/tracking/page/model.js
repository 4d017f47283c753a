"use strict";
// What came with the page, and how frames, positions (places among the frames) and times relate.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const last = data.numbers.length - 1;
const step = last ? data.times[last] / last / 1000 : 1 / data.rate;  // seconds a frame
const frameTime = last ? data.times[last] / (data.numbers[last] - data.numbers[0]) : 1000 / data.rate;
const truth = data.truth || null;

/** The last index whose value is at most `value`; 0 if none is. `values` grow. */
function lastUpTo(values, value) {
  let low = 0, high = values.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (values[middle] <= value) low = middle; else high = middle - 1;
  }
  return low;
}
const positionOf = (frame) => lastUpTo(data.numbers, frame);
const positionAt = (milliseconds) => lastUpTo(data.times, milliseconds + 2);
const seconds = (frames) => `${(frames * step).toFixed(1)} s`;
const moment = (position) => `${(data.times[position] / 1000).toFixed(2)} s`;

const places = new Map(data.numbers.map((number, position) => [number, position]));

/** Tracks as they came: positions, boxes (tenths of a pixel), scores, and what the memory did. */
const original = data.tracks.map((track) => ({
  id: track.id, color: track.color, name: track.name, boxes: track.boxes, scores: track.scores,
  at: track.frames.map((frame) => places.get(frame)),
  matches: rowsOf(track.matches, 5).map(([frame, distance, second, other, sure]) =>
    ({ frame, distance, second, other, sure })),
  views: track.views.map(([seen, stored, why, covered, dropped, picture]) =>
    ({ of: track.id, seen, stored, why, covered, dropped, picture })),
}));

function rowsOf(flat, width) {
  const rows = [];
  for (let i = 0; i < flat.length; i += width) rows.push(flat.slice(i, i + width));
  return rows;
}

/** A track with its runs: [first position, last position, index of the first box]. */
function finished(track) {
  const runs = [];
  track.at.forEach((position, index) => {
    const run = runs[runs.length - 1];
    if (run && position === run[1] + 1) run[1] = position; else runs.push([position, position, index]);
  });
  return { ...track, runs, begins: track.at[0], ends: track.at[track.at.length - 1] };
}

/** The index of a track's box at a position, -1 where it has none. */
function indexAt(track, position) {
  if (position < track.begins || position > track.ends) return -1;
  let low = 0, high = track.runs.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (track.runs[middle][0] <= position) low = middle; else high = middle - 1;
  }
  const [from, to, index] = track.runs[low];
  return position <= to ? index + position - from : -1;
}

/** present, lost, ended or unborn. */
function stateAt(track, position) {
  if (position < track.begins) return "unborn";
  if (position > track.ends) return "ended";
  return indexAt(track, position) >= 0 ? "present" : "lost";
}

/** The colour of an identity that the result does not have, as the annotated video chooses it. */
function colorOf(id) {
  const tones = [[0.95, 1], [0.55, 1], [0.95, 0.65]], index = id % 987;
  const hue = index * 0.6180339887498949 % 1, [saturation, value] = tones[index % 3];
  const part = (n) => {
    const k = (n + hue * 6) % 6;
    const share = value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1));
    return Math.round(255 * share).toString(16).padStart(2, "0");
  };
  return `#${part(5)}${part(3)}${part(1)}`;
}
const isBright = (color) => {
  const [red, green, blue] = color.match(/\w\w/g).map((two) => parseInt(two, 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 128;
};
