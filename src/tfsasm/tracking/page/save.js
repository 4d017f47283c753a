// Corrected results as text: MOTChallenge, CVAT for video 1.1, and the corrections themselves.

const stem = data.title.split(/[\\/]/).pop().replace(/\.[^.]+$/, "") || "result";
const pixels = (tenths) => (tenths / 10).toFixed(2);

function motText(tracks) {
  const lines = [];
  for (const track of tracks)
    track.at.forEach((position, index) => lines.push([position, track.id,
      [data.numbers[position], track.id, ...track.boxes.slice(4 * index, 4 * index + 4).map(pixels),
        (track.scores[index] / 100).toFixed(4), -1, -1, -1].join(",")]));
  lines.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  return lines.map((line) => line[2] + "\n").join("");
}

const escaped = (text) => String(text).replace(/[\x00-\x1f]/g, "?").replace(/&/g, "&amp;")
  .replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");

function cvatText(tracks) {
  const label = (track) => escaped(track.name || "object");
  const labels = [...new Set(tracks.map(label))], end = data.numbers[last] - 1;
  const boxLine = (position, box, outside) => {
    const [left, top, width, height] = box;
    return `    <box frame="${data.numbers[position] - 1}" xtl="${pixels(left)}" ytl="${pixels(top)}"` +
      ` xbr="${pixels(left + width)}" ybr="${pixels(top + height)}" outside="${outside}"` +
      ` occluded="0" keyframe="1" z_order="0"></box>`;
  };
  const lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>",
    "  <version>1.1</version>", "  <meta>", "    <task>",
    `      <name>${escaped(data.title.split(/[\\/]/).pop())}</name>`, `      <size>${end + 1}</size>`,
    "      <mode>interpolation</mode>", "      <start_frame>0</start_frame>",
    `      <stop_frame>${end}</stop_frame>`, "      <labels>",
    ...(labels.length ? labels : ["object"]).map((name) =>
      `        <label><name>${name}</name><attributes></attributes></label>`),
    "      </labels>", `      <original_size><width>${data.size[0]}</width>` +
    `<height>${data.size[1]}</height></original_size>`, "    </task>", "  </meta>"];
  for (const track of tracks) {
    lines.push(`  <track id="${track.id}" label="${label(track)}" source="auto">`);
    track.at.forEach((position, index) => {
      const box = track.boxes.slice(4 * index, 4 * index + 4);
      lines.push(boxLine(position, box, 0));  // then it is outside, till it is seen again
      if (track.at[index + 1] !== position + 1 && position < last)
        lines.push(boxLine(position + 1, box, 1));
    });
    lines.push("  </track>");
  }
  return [...lines, "</annotations>", ""].join("\n");
}

const editsText = () =>
  JSON.stringify({ video: data.title, corrections: edits }, null, 1) + "\n";

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  link.download = `${stem}.${name}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`saved ${link.download}`);
}
const say = (text) => { $("said").textContent = text; };
