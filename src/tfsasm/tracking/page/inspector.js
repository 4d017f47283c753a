// The memory of the chosen identity at this moment: which views, why, what was dropped, how sure.

const STATES = { present: "seen now", lost: "lost now", ended: "ended", unborn: "not yet born" };
let drawn = "";  // what the inspector shows, so that it is only made again when that changes

function drawInspector() {
  const track = trackOf(chosen), frame = data.numbers[at];
  if (!track) {
    const what = "Choose an identity to see what the tracker remembers of it.";
    if (drawn !== "none")
      $("inspector").replaceChildren(make("h2", "Memory"), make("p", what, { className: "soft" }));
    drawn = "none";
    return;
  }
  const match = lastBefore(track.matches, "frame", frame);
  const stored = track.views.filter((view) => view.stored <= frame).length;
  const index = indexAt(track, at), is = stateAt(track, at);
  const score = index < 0 ? "" : `, score ${(track.scores[index] / 100).toFixed(2)}`;
  const state = STATES[is] + score;
  const sign = [edits.length, undone.length, track.id, is, match?.frame, stored].join();
  if (sign === drawn) { $("state").textContent = state; return; }
  const open = $("inspector").querySelector("details")?.open;
  const focus = document.activeElement?.dataset.act;
  drawn = sign;
  $("inspector").replaceChildren(title(track, state), summary(track), matchText(match),
    ...memory(track, frame), actions(track));
  const all = $("inspector").querySelector("details");
  if (open && all) all.open = true;
  if (focus) $("inspector").querySelector(`[data-act="${focus}"]`)?.focus();
}
const lastBefore = (entries, key, frame) => entries.findLast((entry) => entry[key] <= frame);

function title(track, state) {
  const heading = make("h2"), dot = make("span", "", { className: "dot" });
  dot.style.background = track.color;
  heading.append(dot, `#${track.id} ${track.name}`,
    make("span", state, { className: "soft", id: "state" }));
  return heading;
}
function summary(track) {
  const parts = track.runs.length > 1 ? ` in ${track.runs.length} parts` : "";
  const [from, to] = [track.begins, track.ends].map((position) => data.numbers[position]);
  return make("p", `Frames ${from} to ${to}, seen for ${seconds(track.at.length)}${parts}`,
    { className: "soft" });
}

/** How sure the last match was, and whose appearance came second. */
function matchText(match) {
  const line = make("p");
  line.id = "match";
  if (!match) return line;
  const near = (value) => (value / 1000).toFixed(3);
  if (match.sure >= 0) {
    const meter = make("span", "", { className: match.sure < 50 ? "meter low" : "meter" });
    meter.append(make("i")); meter.firstChild.style.width = `${match.sure}%`;
    line.append(meter, `${match.sure} % sure. `);
  }
  line.append(`Frame ${match.frame}: distance ${near(match.distance)} to its own memory`);
  if (match.second) {
    line.append("; second ");
    const id = renamed(edits, match.second, match.frame);
    const button = make("button", `#${match.second}`, { type: "button", disabled: !trackOf(id),
      onclick: () => choose(id) });
    button.setAttribute("aria-label", `Choose #${match.second}, whose appearance came second`);
    line.append(button, ` at ${near(match.other)}`);
  }
  return line;
}

/** The views that are remembered at this frame, the last one dropped, and all there ever were. */
function memory(track, frame) {
  if (!track.views.length) {
    const none = data.tracks.some((one) => one.views.length) ? "Nothing was stored yet."
      : "The tracker that made this has no sparse memory.";
    return [make("p", none, { className: "soft" })];
  }
  const past = track.views.filter((view) => view.stored <= frame);
  const gone = past.filter((view) => view.dropped && view.dropped <= frame);
  const kept = past.filter((view) => !gone.includes(view));
  const next = track.views.find((view) => view.stored > frame)?.stored;  // the next store
  const now = make("div", "", { className: "views" });
  if (gone.length) now.append(picture(gone[gone.length - 1], frame, "gone"));
  now.append(...kept.map((view) =>
    picture(view, frame, next && view.dropped === next ? "next" : "")));
  const all = make("details", "", { ariaLabel: "All views" });
  const every = make("div", "", { className: "views" });
  const count = track.views.length;
  all.append(make("summary", count === 1 ? "The view" : `All ${count} views`), every);
  all.ontoggle = () => {
    if (all.open && !every.children.length)
      every.append(...track.views.map((view) => picture(view, frame, "")));
  };
  // This tracker matches with averages of all views; the sparse memory is only shown beside them.
  const verb = data.beside ? "The sparse memory would hold" : "Holds";
  const heading = kept.length
    ? `${verb} ${kept.length} view${kept.length > 1 ? "s, oldest first" : ""}`
    : `${verb} no view yet`;
  return [make("p", heading), now, all];
}

function picture(view, frame, kind) {
  const why = view.why === "travelled" ? "it had moved far enough" : "it was time";
  const covered = view.covered ? `, at most ${view.covered} % covered` : ", not covered";
  const seen = view.seen === null ? "a blank view" : `seen in frame ${view.seen}`;
  const fate = view.dropped ? `; dropped in frame ${view.dropped}` : "";
  const text = `${seen}, the least covered since the last${covered}; ` +
    `stored in frame ${view.stored} since ${why}${fate}`;
  const button = make("button", "", { type: "button", className: `view ${kind}`, title: text,
    onclick: () => choose(chosen, positionOf(view.seen ?? view.stored)) });
  button.setAttribute("aria-label", `View ${text}`);
  const place = make("span", "", { className: "frame" });
  place.append(view.picture
    ? make("img", "", { alt: "", src: `data:image/jpeg;base64,${view.picture}` })
    : make("span", view.seen === null ? "blank" : "no picture"));
  button.append(place, make("small", `${view.seen ?? view.stored}`),
    make("small", { gone: `out ${view.dropped}`, next: "next out" }[kind] ?? view.why));
  return button;
}

function actions(track) {
  const bar = make("div", "", { className: "acts" });
  const other = make("select");
  other.setAttribute("aria-label", `Merge #${track.id} with`); other.dataset.act = "merge";
  other.append(make("option", "Merge with…", { value: "" }), ...likely(track).map((one) =>
    make("option", `#${one.id} (frames ${data.numbers[one.begins]} to ${data.numbers[one.ends]})`,
      { value: one.id })));
  other.onchange = () => merge(track.id, Number(other.value));
  const splits = make("button", "Split here", { type: "button", onclick: () => split(track.id),
    disabled: !(track.begins < at && at <= track.ends) });
  splits.dataset.act = "split";
  const deletes = make("button", "Delete", { type: "button", onclick: () => remove(track.id) });
  deletes.dataset.act = "delete";
  bar.append(other, splits, deletes);
  return bar;
}

/** The others, first those that begin or end nearest to where this one ends or begins. */
function likely(track) {
  const gap = (one) =>
    Math.min(Math.abs(one.begins - track.ends), Math.abs(track.begins - one.ends));
  return tracks.filter((one) => one.id !== track.id).sort((one, other) => gap(one) - gap(other));
}
