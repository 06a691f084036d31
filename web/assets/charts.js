// The two charts of a session, as SVG. A chart is a list of {at, value, limit?}, oldest first.

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 112;
const TOP = 14;
const BOTTOM = 16;
const LEFT = 4;

function shape(tag, attributes, text) {
  const node = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** The next number of the form 1, 2, 5 × 10ⁿ. */
function roundUp(number) {
  if (number <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((digit) => digit * power).find((value) => value >= number);
}

/** Draws; `name(value)` writes a value of the axis. */
export function draw(svg, points, name, leastTop) {
  const width = Math.max(svg.clientWidth, 200);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const highest = points.reduce((most, p) => Math.max(most, p.value, p.limit ?? 0), leastTop);
  const top = roundUp(highest);
  const first = points[0]?.at ?? 0;
  const last = points.at(-1)?.at ?? 1;
  const x = (at) => LEFT + ((at - first) / Math.max(last - first, 1)) * (width - 2 * LEFT);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const nodes = [];
  const labels = [];
  for (const value of [0, top / 2, top]) {
    const height = y(value);
    nodes.push(shape("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }));
    if (value > 0) labels.push(shape("text", { x: 0, y: height - 3 }, name(value)));
  }
  if (points.length > 1) {
    const path = (read) =>
      points.map((p, i) => `${i ? "L" : "M"}${x(p.at).toFixed(1)} ${y(read(p)).toFixed(1)}`).join("");
    const line = path((p) => p.value);
    const ground = `L${x(last).toFixed(1)} ${y(0)}L${x(first).toFixed(1)} ${y(0)}Z`;
    nodes.push(shape("path", { class: "area", d: line + ground }));
    nodes.push(shape("path", { class: "line", d: line }));
    if (points.every((p) => p.limit !== undefined)) {
      nodes.push(shape("path", { class: "limit", d: path((p) => p.limit) }));
    }
    const ago = (secs) => (secs >= 120 ? `${Math.round(secs / 60)} min ago` : `${secs} s ago`);
    labels.push(shape("text", { x: 0, y: HEIGHT - 3 }, ago(Math.round(last - first))));
    labels.push(shape("text", { x: width, y: HEIGHT - 3, "text-anchor": "end" }, "now"));
  } else {
    labels.push(shape("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "gathering…"));
  }
  svg.replaceChildren(...nodes, ...labels);
}

/** Samples as they come from the history, turned into rates. */
export function ratePoints(samples) {
  return samples.map((s) => ({
    at: s.at_secs, value: s.sent_bits_per_sec, limit: s.rate_bits_per_sec,
  }));
}

/** Of the blocks sent between two samples, the percentage that was sent again. */
export function repairPoints(samples) {
  return samples.slice(1).map((now, index) => {
    const before = samples[index];
    const sent = now.blocks_sent - before.blocks_sent;
    const again = now.blocks_repeated - before.blocks_repeated;
    return { at: now.at_secs, value: sent > 0 ? Math.min(100, Math.max(0, (100 * again) / sent)) : 0 };
  });
}
