// With ground truth: its errors, found by the matching of the CLEAR metrics, on the same timeline.

const COLORS = { false: "#d3212c", switch: "#e04fc5", missed: "#ffb000" };
const RECENT = 12;  // frames for which an identity switch is shown

// The result as it came is what was judged; after corrections its boxes have other names.
const falseAt = new Map();  // position -> ids
const switches = [];
const missedAt = new Map();  // position -> [box, person]
if (truth) {
  for (const [id, frame] of truth.false) push(falseAt, places.get(frame), id);
  for (const [frame, id, before] of truth.switches)
    switches.push({ at: places.get(frame), id, before });
  for (const [frame, person, ...box] of truth.missed)
    push(missedAt, places.get(frame), { person, box: box.map((value) => value / 10) });
}
function push(map, key, value) {
  if (map.has(key)) map.get(key).push(value); else map.set(key, [value]);
}
const current = (id, position) => renamed(edits, id, data.numbers[position]);

/** What is wrong at a position: boxes in pixels, what to say, a colour. */
function faultsAt(position) {
  const found = [], add = (id, text, color) => {
    const track = trackOf(current(id, position)), index = track ? indexAt(track, position) : -1;
    if (index >= 0) found.push({ text, color,
      box: track.boxes.slice(4 * index, 4 * index + 4).map((value) => value / 10) });
  };
  for (const id of falseAt.get(position) ?? []) add(id, "false", COLORS.false);
  for (const fault of switches)
    if (position >= fault.at && position < fault.at + RECENT)
      add(fault.id, `was #${fault.before}`, COLORS.switch);
  for (const { box } of missedAt.get(position) ?? [])
    found.push({ box, text: "missed", color: COLORS.missed });
  return found;
}

/** On the row of a track: a line under false boxes, an arrow at switches. */
function markErrors(context, track, y, x, tone) {
  context.fillStyle = tone("false");
  for (const [from, to] of falseRuns.get(track.id) ?? [])
    context.fillRect(x(from), y + 13, Math.max(2, x(to + 1) - x(from)), 3);
  context.fillStyle = tone("switch");
  for (const fault of switches)
    if (current(fault.id, fault.at) === track.id) {
      const place = x(fault.at);
      context.beginPath(); context.moveTo(place - 5, y);
      context.lineTo(place + 5, y); context.lineTo(place, y + 8);
      context.fill();
    }
}

/** How many were missed at every moment, as bars between the axis and the rows. */
function drawMissed(context, x, width, tone) {
  const most = Math.max(1, ...[...missedAt.values()].map((list) => list.length));
  context.fillStyle = tone("missed");
  if ($("errors").checked)
    for (const [position, list] of missedAt) {
      const high = Math.max(2, (ROW - 2) * list.length / most), left = x(position);
      const wide = Math.max(1, x(position + 1) - left);
      if (left >= LEFT) context.fillRect(left, 2 * ROW - 1 - high, wide, high);
    }
  context.fillStyle = tone("soft"); context.fillText("missed", 4, ROW + 12);
}

let falseRuns = new Map();  // id -> [first position, last position]
const runsOf = (positions) => positions.sort((a, b) => a - b).reduce((runs, position) => {
  const run = runs[runs.length - 1];
  if (run && position === run[1] + 1) run[1] = position; else runs.push([position, position]);
  return runs;
}, []);

/** Every switch, and every time somebody was missed or a box was false, by frame. */
function fillFaults() {
  const wrong = new Map(), gone = new Map();
  for (const [position, ids] of falseAt) for (const id of ids) {
    const now = current(id, position);
    if (now !== null) push(wrong, now, position);
  }
  for (const [position, list] of missedAt)
    for (const { person } of list) push(gone, person, position);
  falseRuns = new Map([...wrong].map(([id, positions]) => [id, runsOf(positions)]));
  const found = [
    ...switches.map((fault) => ({ position: fault.at, id: current(fault.id, fault.at),
      text: `#${current(fault.id, fault.at) ?? fault.id} was #${fault.before}`,
      color: COLORS.switch })),
    ...[...falseRuns].flatMap(([id, runs]) => runs.map(([from, to]) => ({ position: from, id,
      text: `#${id} covers nobody for ${seconds(to - from + 1)}`, color: COLORS.false }))),
    ...[...gone].flatMap(([person, positions]) => runsOf(positions).map(([from, to]) => ({
      position: from, id: 0, text: `person ${person} is missed for ${seconds(to - from + 1)}`,
      color: COLORS.missed }))),
  ].filter((fault) => !trackOf(fault.id) || passes(trackOf(fault.id)))
    .sort((one, other) => one.position - other.position);
  fill($("faults"), found.map((fault) => entry(fault.id, fault.color, fault.text,
    `frame ${data.numbers[fault.position]}`,
    () => choose(fault.id || chosen, fault.position))), "none");
  count("faults", "Errors", found.length);
}

if (truth) {
  for (const part of document.querySelectorAll(".wrong")) part.hidden = false;
  $("scores").textContent = Object.entries(truth.scores).map(([name, value]) =>
    `${name} ${Number.isInteger(value) ? value : value.toFixed(1)}`).join("  ");
}
