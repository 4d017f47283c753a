// What is chosen, what is shown, and what keys and buttons do.

let chosen = null, tracks = original.map(finished), shown = tracks;
const trackOf = (id) => tracks.find((track) => track.id === id);

function draw() {
  const frame = data.numbers[at], here = tracks.filter((track) => indexAt(track, at) >= 0).length;
  $("now").textContent = `frame ${frame}, ${moment(at)}, ${here} seen`;
  $("seek").value = at;
  $("seek").setAttribute("aria-valuetext", `frame ${frame}`);
  if ($("now-is").value && isPaused()) fillIdentities();
  drawBoxes(); drawLines(); drawInspector();
}

/** Choose an identity, or none, and go to a position if one is given. */
function choose(id, position) {
  chosen = id;
  press();
  if (position !== undefined) go(position); else draw();
  intoSight();
}

function fillLists() {
  fillIdentities(); fillReview();
  if (truth) fillFaults();
}
/** Everything that follows from the corrections. */
function refresh() {
  tracks = edits.length ? corrected(original, edits) : original.map(finished);
  if (edits.length && playing?.drawn) $("overlay").checked = true;  // the numbers in it are old
  if (!trackOf(chosen)) chosen = null;
  fillLists(); fillEdits();
  drawn = "";
  draw();
}
function edit(change, then) {
  edits.push(change); undone.length = 0;
  chosen = then;
  say("");
  remember(); refresh(); press(); intoSight();
}
function merge(a, b) {
  if (!trackOf(a) || !trackOf(b) || a === b) return;
  const [keep, gone] = [Math.min(a, b), Math.max(a, b)];
  const both = trackOf(keep).at.filter((position) => indexAt(trackOf(gone), position) >= 0).length;
  edit({ merge: [keep, gone] }, keep);
  if (both) say(`both had a box in ${both} frames; that of the lower number stays there`);
}
function split(id) {
  const track = trackOf(id);
  if (!track || at <= track.begins || at > track.ends) return;
  const made = nextId();
  edit({ split: id, frame: data.numbers[at], new: made }, made);
}
function remove(id) { if (trackOf(id)) edit({ delete: id }, null); }
function undo() { if (edits.length) { undone.push(edits.pop()); remember(); refresh(); } }
function redo() { if (undone.length) { edits.push(undone.pop()); remember(); refresh(); } }

async function openEdits(file) {
  let list = null, wrong = "";
  try { list = JSON.parse(await file.text()).corrections; } catch { wrong = "it is not JSON"; }
  wrong ||= wrongIn(list);
  if (wrong) return say(`${file.name} does not fit this page: ${wrong}`);
  edits.splice(0, edits.length, ...list); undone.length = 0;
  remember(); refresh();
  say(`opened ${file.name}`);
}

function keys(event) {
  const place = event.target.tagName, key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === "z") {
    event.preventDefault();
    return event.shiftKey ? redo() : undo();
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "escape") return choose(null);
  if (place === "SELECT") return;
  if (place === "INPUT" && !/range|checkbox/.test(event.target.type)) return;
  const steps = { arrowright: 1, arrowleft: -1 }[key];
  if (key === " " && !/BUTTON|INPUT|SUMMARY/.test(place)) {
    event.preventDefault(); toggle();
  } else if (steps && place !== "INPUT") {
    event.preventDefault(); toggle(false); go(at + steps);
  } else if ((key === "j" || key === "k") && shown.length) {
    const move = key === "j" ? 1 : -1, row = shown.findIndex((track) => track.id === chosen);
    const from = row < 0 && move < 0 ? 0 : row;  // without a choice K takes the last one
    const next = shown[(from + move + shown.length) % shown.length];
    choose(next.id, next.begins);
  } else if (chosen !== null) {
    if (key === "s") split(chosen);
    else if (key === "delete") remove(chosen);
    else if (key === "m") {
      event.preventDefault();
      $("inspector").querySelector("select")?.focus();
    }
  }
}

function linked() {  // NAME.report.html#3 is identity 3, #3,120 is that in frame 120
  const [, id, frame] = location.hash.match(/^#(\d+)(?:,(\d+))?$/) || [];
  const track = trackOf(Number(id));
  if (track) choose(track.id, frame ? positionOf(Number(frame)) : track.begins);
}

document.title = data.title; $("title").title = data.title;
$("title").textContent = data.title.split(/[\\/]/).pop() || data.title;
$("facts").textContent = `${original.length} identities, ${data.numbers.length} frames, ` +
  `${(data.times[last] / 1000).toFixed(1)} s`;
$("seek").max = last;
for (const name of [...new Set(original.map((track) => track.name))].filter(Boolean).sort())
  $("kind").append(make("option", name, { value: name }));
$("kind").hidden = $("kind").options.length < 3;

$("play").onclick = () => toggle();
video.onplay = () => { $("play").textContent = "Pause"; again(); };
video.onpause = () => { $("play").textContent = "Play"; draw(); };
video.onseeked = draw;
$("speed").onchange = () => {
  video.playbackRate = Number($("speed").value);
  if (clock) toggle(true);
};
$("seek").oninput = () => { toggle(false); go(Number($("seek").value)); };
$("zoom").oninput = () => { drawLines(); intoSight(); };
$("overlay").onchange = $("errors").onchange = draw;
for (const name of ["find", "least", "kind", "now-is"])
  $(name).oninput = () => { fillLists(); draw(); };
$("undo").onclick = undo; $("redo").onclick = redo;
$("save-mot").onclick = () => download("corrected.mot.txt", motText(tracks));
$("save-cvat").onclick = () => download("corrected.cvat.xml", cvatText(tracks));
$("save-edits").onclick = () => download("corrections.json", editsText());
$("open-edits").onchange = (event) => {
  openEdits(event.target.files[0]);
  event.target.value = "";
};
rows.onscroll = drawLines; lines.onclick = clicked; lines.onmousemove = explain;
new ResizeObserver(() => draw()).observe(document.querySelector("main"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("keydown", keys);
addEventListener("hashchange", linked);

edits.push(...recalled());
showTab("list");
refresh();
if (edits.length) say(`${edits.length} corrections from before are applied`);
open(0);
linked();
