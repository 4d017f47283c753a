// A row per identity; only what is in sight is drawn, so length and number do not matter.

const lines = $("lines"), rows = $("rows"), ROW = 16, LEFT = 56;

const zoomed = () => 2 ** Number($("zoom").value);
const head = () => truth ? 2 * ROW : ROW;  // the axis, and the row of what was missed

function drawLines() {
  const width = rows.clientWidth, full = shown.length * ROW + head();
  const height = Math.min(full, 0.36 * innerHeight), scale = devicePixelRatio || 1;
  $("long").style.height = `${full}px`;
  $("long").style.width = `${LEFT + (width - LEFT) * zoomed()}px`;
  Object.assign(lines.style, { width: `${width}px`, height: `${height}px` });
  Object.assign(lines, { width: width * scale, height: height * scale });
  const context = lines.getContext("2d"), style = getComputedStyle(document.documentElement);
  context.scale(scale, scale); context.font = "12px system-ui, sans-serif";
  const tone = (name) => style.getPropertyValue(`--${name}`), x = horizontal(width);
  const ticks = ticksOf(x, width);
  context.fillStyle = tone("line");
  for (const [, place] of ticks) context.fillRect(place, head() - 3, 1, height);
  const from = Math.floor(rows.scrollTop / ROW), to = from + Math.ceil(height / ROW) + 1;
  for (let row = from; row < Math.min(to, shown.length); row++) {
    const y = head() + row * ROW - rows.scrollTop;
    if (y > head() - ROW) drawRow(context, shown[row], y, x, width, tone);
  }
  context.clearRect(0, 0, LEFT - 4, height);
  for (let row = from; row < Math.min(to, shown.length); row++) {
    const y = head() + row * ROW - rows.scrollTop;
    context.fillStyle = tone("front");
    if (shown[row].id === chosen) context.font = "bold 12px system-ui, sans-serif";
    if (y > head() - ROW) context.fillText(`#${shown[row].id}`, 4, y + 12);
    context.font = "12px system-ui, sans-serif";
  }
  context.clearRect(0, 0, width, head() - 3);
  context.fillStyle = tone("soft");
  for (const [text, place] of ticks) context.fillText(text, place - 2, 11);
  if (truth) drawMissed(context, x, width, tone);
  context.fillStyle = tone("mark");
  if (x(at) >= LEFT) context.fillRect(x(at), 0, 2, height);
}

/** Where a position is on the canvas. */
function horizontal(width) {
  const share = (width - LEFT - 8) * zoomed() / (last + 1);
  return (position) => LEFT + position * share - rows.scrollLeft;
}

const EVERY = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
const APART = 70;  // pixels between two times of the axis, at least

/** What the axis says, and where: [text, pixels from the left]. */
function ticksOf(x, width) {
  const second = (x(1) - x(0)) / step, whole = data.times[last] / 1000;
  const every = EVERY.find((one) => one * second >= APART) ?? 7200;
  return Array.from({ length: Math.floor(whole / every) + 1 }, (_, index) => index * every)
    .map((time) => [clockTime(time, every), x(positionAt(1000 * time))])
    .filter(([, place]) => place >= LEFT && place < width - 40);
}
/** 0:05 or 1:02:05; parts of a second where the axis has them. */
function clockTime(time, every) {
  const parts = [Math.floor(time / 3600), Math.floor(time / 60) % 60].slice(time < 3600 ? 1 : 0);
  const rest = (time % 60).toFixed(every < 1 ? 1 : 0).padStart(every < 1 ? 4 : 2, "0");
  return [...parts.map((part, index) => index ? String(part).padStart(2, "0") : part), rest]
    .join(":");
}

function drawRow(context, track, y, x, width, tone) {
  if (track.id === chosen) { context.fillStyle = tone("line"); context.fillRect(0, y, width, ROW); }
  context.strokeStyle = context.fillStyle = track.color;
  context.setLineDash([2, 3]); context.beginPath();
  context.moveTo(x(track.begins), y + 8.5); context.lineTo(x(track.ends + 1), y + 8.5);
  context.stroke(); context.setLineDash([]);
  for (const [from, to] of track.runs)
    if (x(to + 1) > LEFT && x(from) < width)
      context.fillRect(x(from), y + 4, Math.max(2, x(to + 1) - x(from)), 9);
  if (track.id === chosen)
    for (const view of track.views) {
      context.fillStyle = tone("front");
      context.fillRect(x(positionOf(view.stored)), y + 2, 1, 13);
    }
  if (truth && $("errors").checked) markErrors(context, track, y, x, tone);
}

/** The identity, if any, and the position under the mouse. */
function under(event) {
  const area = lines.getBoundingClientRect(), y = event.clientY - area.top;
  const row = Math.floor((y + rows.scrollTop - head()) / ROW);
  const left = horizontal(area.width)(0), right = horizontal(area.width)(last + 1);
  const share = Math.max(0, Math.min(0.9999, (event.clientX - area.left - left) / (right - left)));
  return { track: y < head() ? undefined : shown[row], position: Math.floor(share * (last + 1)) };
}
function clicked(event) {
  const { track, position } = under(event);
  if (track) choose(track.id, position); else go(position);
}
function explain(event) {
  const { track, position } = under(event);
  const who = track ? `#${track.id} ${STATES[stateAt(track, position)].replace(" now", "")}, ` : "";
  lines.title = `${who}frame ${data.numbers[position]}, ${moment(position)}`;
}

/** Scroll so that the chosen row and the moment are in sight. */
function intoSight() {
  const row = shown.findIndex((track) => track.id === chosen), y = head() + row * ROW;
  if (row >= 0 && (y < rows.scrollTop + head() || y > rows.scrollTop + rows.clientHeight - ROW))
    rows.scrollTop = y - 3 * ROW;
  const place = horizontal(rows.clientWidth)(at);
  if (zoomed() > 1 && (place < LEFT || place > rows.clientWidth - 20))
    rows.scrollLeft += place - rows.clientWidth / 3;
}
