// The video, the plain one where the browser plays it, and the boxes over it.

const video = $("video"), boxes = $("boxes"), stage = $("stage");
let at = 0;          // the position that is shown
let playing = null;  // the entry of data.videos that plays, null without a video
let clock = 0;       // what plays boxes alone

function open(index) {
  const entry = data.videos[index];
  if (!entry) return withoutVideo();
  video.onerror = () => open(index + 1);
  video.onloadedmetadata = () => fits(entry) ? begin(entry) : open(index + 1);
  video.src = entry.src;
}

/** Whether the video is the one that was tracked: its shape, and whether it is long enough. */
function fits(entry) {
  const [width, height] = data.size, aspect = data.aspect || 1;
  const shape = video.videoWidth * height / (video.videoHeight * width * aspect);
  return Math.abs(shape - 1) < 0.02 && video.duration + 1 > entry.start + data.times[last] / 1000;
}

function begin(entry) {
  playing = entry;
  $("overlay").checked = !entry.drawn || edits.length > 0;
  $("about-video").textContent = entry.drawn
    ? "The boxes are drawn into this video; the plain one is not beside the page, or this " +
      "browser cannot play it."
    : "";
  go(at);
}

function withoutVideo() {
  playing = null;
  video.remove();
  stage.classList.add("bare");
  $("about-video").textContent = data.videos.length
    ? "No video is beside this page that this browser can play, so the boxes are shown alone."
    : "No video was saved, so the boxes are shown alone.";
  draw();
}

/** Go to a position: well into its frame, for times are rounded. The plain video may have frames
 * between, which were not tracked. */
function go(position) {
  at = Math.max(0, Math.min(last, position));
  const long = at < last ? Math.min(frameTime, data.times[at + 1] - data.times[at]) : frameTime;
  if (playing) video.currentTime = playing.start + (data.times[at] + 0.4 * long) / 1000;
  draw();
}

const isPaused = () => playing ? video.paused : !clock;
function toggle(play = isPaused()) {
  if (playing) {
    if (play) video.play(); else video.pause();
    return;
  }
  clearInterval(clock);
  clock = play ? setInterval(() => at < last ? go(at + 1) : toggle(false),
    1000 * step / Number($("speed").value)) : 0;
  $("play").textContent = play ? "Pause" : "Play";
}

/** While it plays: the position of the image that is on the screen, where the browser tells it. */
function follow(_, image) {
  if (playing) at = positionAt(1000 * ((image?.mediaTime ?? video.currentTime) - playing.start));
  draw();
  if (!isPaused()) again();
}
const again = () => video.requestVideoFrameCallback
  ? video.requestVideoFrameCallback(follow) : requestAnimationFrame(() => follow());

function drawBoxes() {
  const [wide, high] = data.size, scale = devicePixelRatio || 1;
  const room = Math.min(stage.clientWidth / wide, 0.52 * innerHeight / high);
  const width = playing ? video.clientWidth : room * wide;
  const height = playing ? video.clientHeight : room * high;
  Object.assign(boxes.style, { width: `${width}px`, height: `${height}px` });
  Object.assign(boxes, { width: width * scale, height: height * scale });
  const context = boxes.getContext("2d"), unit = wide / width;
  context.scale(boxes.width / wide, boxes.height / high);
  const all = $("overlay").checked, burnt = playing?.drawn && !all, here = [], taken = [];
  for (const track of tracks) {
    const own = track.id === chosen, index = indexAt(track, at);
    if (index < 0 || !(own || all)) continue;
    const box = track.boxes.slice(4 * index, 4 * index + 4).map((value) => value / 10);
    outline(context, box, track.color, (own ? 4 : 2) * unit);
    here.push({ track, box, own });
  }
  here.sort((one, other) => other.own - one.own);  // that of the chosen one has the first choice
  if (!burnt) for (const { track, box } of here)
    label(context, box, `#${track.id}`, track.color, unit, taken);
  if (truth && $("errors").checked) drawErrors(context, unit, taken);
}
function outline(context, [x, y, width, height], color, line) {
  context.lineWidth = line; context.strokeStyle = color;
  context.strokeRect(x, y, width, height);
}

/** At the first of some places around the box that no other label has: above, inside, below. */
function label(context, [x, y, width, height], text, color, unit, taken, order = [0, 1, 2, 3]) {
  context.font = `${13 * unit}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + 8 * unit, high = 17 * unit;
  const tops = [y - high, y, y + height, y + height - high];
  const within = (value, most) => Math.max(0, Math.min(value, most));
  const spots = order.flatMap((place) => [x, x + width - wide].map((left) =>
    [within(left, data.size[0] - wide), within(tops[place], data.size[1] - high)]));
  const free = ([left, top]) => !taken.some(([x0, y0, x1, y1]) =>
    left < x1 && x0 < left + wide && top < y1 && y0 < top + high);
  const [left, top] = spots.find(free) ?? spots[0];
  taken.push([left, top, left + wide, top + high]);
  context.fillStyle = color; context.fillRect(left, top, wide, high);
  context.fillStyle = isBright(color) ? "#000" : "#fff";
  context.fillText(text, left + 4 * unit, top + 13 * unit);
}

/** The errors of the frame: dashed, and named below the box. */
function drawErrors(context, unit, taken) {
  context.save(); context.setLineDash([6 * unit, 4 * unit]);
  const mark = (box, text, color) => {
    const wider = [box[0] - 3 * unit, box[1] - 3 * unit, box[2] + 6 * unit, box[3] + 6 * unit];
    outline(context, wider, color, 3 * unit);
    label(context, wider, text, color, unit, taken, [2, 3, 1, 0]);
  };
  for (const fault of faultsAt(at)) mark(fault.box, fault.text, fault.color);
  context.restore();
}
