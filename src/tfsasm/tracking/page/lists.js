// The lists beside the video: identities, what to review, errors, corrections.

const TABS = [["list", "Identities"], ["review", "Review"], ["faults", "Errors"],
  ["edits", "Corrections"]].filter(([name]) => truth || name !== "faults");
const MOST = 400;  // entries of a list

for (const [name, title] of TABS) {
  const tab = document.createElement("button");
  Object.assign(tab, { id: `tab-${name}`, textContent: title, onclick: () => showTab(name) });
  tab.setAttribute("role", "tab"); tab.setAttribute("aria-controls", `panel-${name}`);
  $("tabs").append(tab);
}
function showTab(name) {
  for (const [other] of TABS) {
    $(`panel-${other}`).hidden = other !== name;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
}
$("tabs").onkeydown = (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!move) return;
  const index = TABS.findIndex(([name]) => !$(`panel-${name}`).hidden);
  const [name] = TABS[(index + move + TABS.length) % TABS.length];
  showTab(name); $(`tab-${name}`).focus(); event.preventDefault(); event.stopPropagation();
};
const count = (name, title, number) => { $(`tab-${name}`).textContent = `${title} ${number}`; };

/** An element with its text and attributes. */
function make(tag, text = "", attributes = {}) {
  const element = Object.assign(document.createElement(tag), attributes);
  if (text !== "") element.textContent = text;
  return element;
}
function entry(id, color, text, soft, press) {
  const item = make("li"), button = make("button", "", { type: "button", onclick: press });
  const dot = make("span", "", { className: "dot" });
  dot.style.background = color;
  button.append(dot, make("span", text), make("span", soft, { className: "soft" }));
  if (id) { button.dataset.id = id; button.setAttribute("aria-pressed", String(id === chosen)); }
  item.append(button);
  return item;
}
function fill(list, items, nothing) {
  const extra = items.length > MOST ? [make("li", `and ${items.length - MOST} more`)] : [];
  list.replaceChildren(...items.slice(0, MOST), ...extra);
  if (!items.length) list.append(make("li", nothing, { className: "empty" }));
}

/** Whether a track is what the filters ask for, whatever the moment. */
function passes(track) {
  const text = $("find").value.trim().replace("#", ""), least = Number($("least").value) / step;
  const kind = $("kind").value;
  return (!text || String(track.id).startsWith(text)) && track.at.length >= least
    && (!kind || track.name === kind);
}
function fillIdentities() {
  const state = $("now-is").value;
  shown = tracks.filter((track) => passes(track) && (!state || stateAt(track, at) === state));
  fill($("list"), shown.map((track) => entry(track.id, track.color,
    `#${track.id}${$("kind").options.length > 2 ? ` ${track.name}` : ""}`,
    `${seconds(track.at.length)} from frame ${data.numbers[track.begins]}` +
      (track.runs.length > 1 ? `, ${track.runs.length} parts` : ""),
    () => choose(track.id, track.begins))), "none is like that");
  count("list", "Identities", shown.length);
}

/** What to review, as far as it passes the filters and is still true after corrections. */
function fillReview() {
  const now = data.review.map((item) => {
    const id = renamed(edits, item.id, item.frame);
    const other = item.other && renamed(edits, item.other, item.frame - 1);
    return { ...item, id, other, done: id === null || (item.other && [null, id].includes(other)) };
  }).filter((item) => !item.done && passes(trackOf(item.id)));
  fill($("review"), now.map((item) => {
    const track = trackOf(item.id), text = item.text.replace(/#\d+/, `#${item.other}`);
    const row = entry(item.id, track?.color, `#${item.id} ${text}`, `frame ${item.frame}`,
      () => choose(item.id, positionOf(item.frame)));
    if (item.other && text.startsWith("begins")) {
      const button = make("button", "merge", { className: "act", type: "button",
        onclick: () => merge(item.id, item.other) });
      button.setAttribute("aria-label", `Merge #${item.id} with #${item.other}`);
      row.append(button);
    }
    return row;
  }), "nothing");
  count("review", "Review", now.length);
}

function fillEdits() {
  fill($("edits"), edits.map((edit, index) => {
    const id = edit.merge?.[0] ?? edit.new ?? edit.delete, track = trackOf(id);
    return entry(0, track?.color ?? "transparent", textOf(edit), String(index + 1),
      () => track && choose(id, edit.frame ? positionOf(edit.frame) : track.begins));
  }), "none yet; choose an identity to merge, split or delete it");
  count("edits", "Corrections", edits.length);
  $("undo").disabled = !edits.length; $("redo").disabled = !undone.length;
  $("save-edits").disabled = !edits.length;
}

function press() {
  for (const button of document.querySelectorAll("#side [data-id]"))
    button.setAttribute("aria-pressed", String(Number(button.dataset.id) === chosen));
  const list = $("list"), item = list.querySelector(`[data-id="${chosen}"]`)?.parentElement;
  if (!item) return;
  const top = item.offsetTop - list.offsetTop;  // the list scrolls, never the page
  if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight)
    list.scrollTop = top - list.clientHeight / 2;
}
