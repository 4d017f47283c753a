// Corrections by hand: a list that is applied to the result as it came, so undoing is forgetting.
// {merge: [a, b]}: b is a. {split: a, frame, new: b}: from that frame on a is b. {delete: a}.

const edits = [], undone = [];

/** What the identity of a box is called after corrections, null where it is deleted. */
function renamed(list, id, frame) {
  for (const edit of list) {
    if (edit.merge && edit.merge[1] === id) id = edit.merge[0];
    else if (edit.split === id && frame >= edit.frame) id = edit.new;
    else if (edit.delete === id) return null;
  }
  return id;
}

/** The tracks after corrections. Where two boxes of one frame get the same identity, that of the
 * lower number before it stays. */
function corrected(tracks, list) {
  const named = new Set(list.flatMap((edit) => edit.merge || [edit.split ?? edit.delete]));
  const made = new Map(), rename = (track, frame) => renamed(list, track.id, frame);
  for (const track of tracks) {
    if (!named.has(track.id)) { made.set(track.id, track); continue; }
    track.at.forEach((position, index) => {
      const id = rename(track, data.numbers[position]);
      if (id === null) return;
      const part = partOf(made, id, track);
      if (part.taken.has(position)) return;
      part.taken.add(position);
      part.rows.push({ position, box: track.boxes.slice(4 * index, 4 * index + 4),
        score: track.scores[index] });
    });
    for (const kind of ["matches", "views"])
      for (const entry of track[kind])
        made.get(rename(track, entry.frame ?? entry.seen ?? entry.stored))?.[kind].push(entry);
  }
  return [...made.values()].map((part) => part.rows ? joined(part) : part)
    .sort((one, other) => one.id - other.id).map(finished);
}

function partOf(made, id, track) {
  let part = made.get(id);
  if (!part) made.set(id, part = blank(id, track.name));
  part.name ||= track.name;
  return part;
}
const blank = (id, name) => ({ id, name, color: original.find((one) => one.id === id)?.color
  ?? colorOf(id), rows: [], taken: new Set(), matches: [], views: [] });

function joined({ id, name, color, rows, matches, views }) {
  rows.sort((one, other) => one.position - other.position);
  matches.sort((one, other) => one.frame - other.frame);
  views.sort((one, other) => one.stored - other.stored);
  return { id, name, color, matches, views, at: rows.map((row) => row.position),
    boxes: rows.flatMap((row) => row.box), scores: rows.map((row) => row.score) };
}

/** Why a list of corrections cannot be applied, or an empty text. */
function wrongIn(list) {
  if (!Array.isArray(list)) return "it has no list of corrections";
  const ids = new Set(original.map((track) => track.id));
  for (const [index, edit] of list.entries()) {
    const [a, b] = edit?.merge ?? [edit?.split ?? edit?.delete, edit?.new];
    const good = edit?.merge ? a !== b && ids.has(a) && ids.has(b)
      : edit?.split !== undefined ? ids.has(a) && Number.isInteger(edit.frame)
        && Number.isInteger(b) && b > 0 && !ids.has(b)
      : edit?.delete !== undefined && ids.has(a);
    if (!good) return `correction ${index + 1} is of an identity that is not there`;
    if (edit.merge) ids.delete(b); else if (edit.split !== undefined) ids.add(b); else ids.delete(a);
  }
  return "";
}

const nextId = () => 1 + Math.max(0, ...original.map((track) => track.id),
  ...edits.map((edit) => edit.new ?? 0));

function textOf(edit) {
  if (edit.merge) return `#${edit.merge[1]} is #${edit.merge[0]}`;
  if (edit.split !== undefined) return `#${edit.split} is #${edit.new} from frame ${edit.frame} on`;
  return `#${edit.delete} deleted`;
}

// They outlive a reload, where the browser keeps things for the page.
const shelf = `tfsasm ${data.title} ${data.numbers.length} ${original.length} ` +
  original.reduce((sum, track) => sum + track.at.length, 0);
function remember() {
  try { localStorage.setItem(shelf, JSON.stringify(edits)); } catch { /* a browser may forbid it */ }
}
function recalled() {
  try {
    const list = JSON.parse(localStorage.getItem(shelf) || "[]");
    return wrongIn(list) ? [] : list;
  } catch { return []; }
}
