// Numbers and names as people read them, and the few things that are done to the document.
// Whatever comes from the host is set as text, never as HTML.

export function byId(id) {
  return document.getElementById(id);
}

/** Sets text only when it differs, so that nothing is drawn or read out again for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Fills a <dl> with [name, value, class?], using again what is there. */
export function setFacts(list, facts) {
  while (list.children.length > facts.length) list.lastChild.remove();
  facts.forEach(([name, value, className], index) => {
    let row = list.children[index];
    if (!row) {
      row = make("div");
      row.append(make("dt"), make("dd"));
      list.append(row);
    }
    row.className = className ?? "";
    setText(row.children[0], name);
    setText(row.children[1], value);
  });
}

/** Makes the children of a list match items by key, using nodes again: `create(item)`, `update(node, item)`. */
export function setItems(list, items, key, create, update) {
  const known = new Map(Array.from(list.children, (node) => [node.dataset.key, node]));
  let place = list.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let node = known.get(name);
    if (node) {
      known.delete(name);
    } else {
      node = create(item);
      node.dataset.key = name;
    }
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
  for (const node of known.values()) node.remove();
}

function scaled(number, step, units) {
  let index = 0;
  while (number >= step && index < units.length - 1) {
    number /= step;
    index += 1;
  }
  const digits = index === 0 || number >= 100 ? 0 : 1;
  return `${number.toFixed(digits)} ${units[index]}`;
}

export const bytes = (number) => scaled(number, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const rate = (number) => scaled(number, 1000, ["b/s", "kb/s", "Mb/s", "Gb/s"]);
export const count = (number) => number.toLocaleString("en");

export function percent(part, whole, digits = 1) {
  return `${(whole > 0 ? (100 * part) / whole : 0).toFixed(digits)} %`;
}

/** Seconds as m:ss or h:mm:ss. */
export function clock(secs) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const hours = Math.floor(secs / 3600);
  const rest = `${hours > 0 ? two((secs / 60) % 60) : Math.floor(secs / 60)}:${two(secs % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

export function when(secs) {
  return new Date(secs * 1000).toISOString().slice(0, 16).replace("T", " ");
}

export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;
