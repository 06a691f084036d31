// The clients of a session: boxes in a grid, those that need attention, and one in full.

import { byId, clock, count, make, percent, plural, rate, setFacts, setItems, setText, when } from "./words.js";

const ATTENTION_MAX = 12;
const TROUBLES = {
  no_reply: "nothing answered its join",
  no_data: "joined, but no data came",
  stopped: "data came, then stopped",
};
const STAGES = { network: "net", disk: "disk", server: "srv", unknown: "–" };
const LIMITS = {
  network: "the network: blocks do not arrive",
  disk: "its disk, or decompression",
  server: "the rate of the server",
  unknown: "not known",
};

const names = new Intl.Collator("en", { numeric: true });
const nameOf = (client) => client.name ?? client.address;
const keyOf = (client) => `${client.address} ${client.id}`;
const share = (client) =>
  client.state === "done" ? 100 : (100 * (client.chunks_done ?? 0)) / Math.max(client.chunks, 1);

function kindOf(client) {
  if (client.state === "gone") return "gone";
  if (client.trouble) return "trouble";
  if (client.state === "done") return "done";
  return client.laggard ? "slow" : "";
}
const MARKS = { gone: "✕ ", trouble: "⚠ ", done: "✓ ", slow: "↓ ", "": "" };

const needsAttention = (client) => ["gone", "trouble", "slow"].includes(kindOf(client));

/** Why a client needs attention, in a sentence. */
function reason(client) {
  const said = [];
  if (client.trouble) {
    const what = TROUBLES[client.trouble.what] ?? client.trouble.what;
    const then = client.trouble.fallback ? "fell back to unicast" : "and did not fall back";
    said.push(`${what} for ${client.trouble.waited_secs} s; ${then}`);
  }
  if (client.state === "gone") said.push(`gone at ${share(client).toFixed(0)} % without the whole image`);
  else if (client.laggard) said.push(`left behind at ${share(client).toFixed(0)} %, limited by ${client.limited_by}`);
  return said.join("; ");
}

/** What a box says to those who do not see it, after name and percentage. */
function sentence(client) {
  const parts = ["", client.state];
  if (client.bits_per_sec !== null) parts.push(rate(client.bits_per_sec));
  parts.push(`loss ${percent(client.loss_millionths, 1e6)}`, `limited by ${client.limited_by}`);
  if (client.secs_left !== null) parts.push(`${clock(client.secs_left)} left`);
  const why = reason(client);
  if (why) parts.push(why);
  return parts.join(", ");
}

const FILTERS = {
  all: () => true,
  loading: (client) => client.state === "loading" || client.state === "joined",
  attention: needsAttention,
  done: (client) => client.state === "done",
};
const ORDERS = {
  name: (a, b) => names.compare(nameOf(a), nameOf(b)),
  slowest: (a, b) => share(a) - share(b) || names.compare(nameOf(a), nameOf(b)),
  loss: (a, b) => b.loss_millionths - a.loss_millionths || names.compare(nameOf(a), nameOf(b)),
};

export class Clients {
  #clients = [];
  #opened = null;
  #list = byId("clients");

  constructor() {
    for (const id of ["filter", "order"]) byId(id).addEventListener("change", () => this.#show());
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    this.#list.addEventListener("click", (event) => {
      const item = event.target.closest("li");
      if (item) this.#open(item.dataset.key);
    });
    byId("client").addEventListener("close", () => { this.#opened = null; });
  }

  set(clients) {
    this.#clients = clients;
    this.#show();
  }

  get summary() {
    const loading = this.#clients.filter(FILTERS.loading);
    const shares = loading.map(share).sort((a, b) => a - b);
    const left = loading.map((client) => client.secs_left ?? 0);
    return {
      median: shares.length ? shares[Math.floor(shares.length / 2)] : null,
      secsLeft: left.length ? Math.max(...left) : null,
    };
  }

  #show() {
    const shown = this.#clients.filter(FILTERS[byId("filter").value]).sort(ORDERS[byId("order").value]);
    setItems(this.#list, shown, keyOf, box, fill);
    const none = byId("no-clients");
    none.hidden = shown.length > 0;
    setText(none, this.#clients.length ? "No client is like that." : "No client has joined yet.");
    setText(byId("clients-title"), `Clients: ${count(shown.length)} of ${count(this.#clients.length)}`);
    this.#keepTabStop();
    this.#showAttention();
    if (this.#opened !== null) this.#fillDialog();
  }

  #showAttention() {
    const rank = { gone: 0, trouble: 1, slow: 2 };
    const all = this.#clients.filter(needsAttention)
      .sort((a, b) => rank[kindOf(a)] - rank[kindOf(b)] || ORDERS.name(a, b));
    byId("attention-box").hidden = all.length === 0;
    setText(byId("attention-title"), `⚠ ${plural(all.length, "client needs", "clients need")} attention`);
    const items = all.slice(0, ATTENTION_MAX).map((client) => ({
      key: keyOf(client), text: `${nameOf(client)}: ${reason(client)}`,
    }));
    if (all.length > ATTENTION_MAX) {
      const more = all.length - ATTENTION_MAX;
      items.push({ key: "more", text: `and ${count(more)} more: choose Show “needing attention” below` });
    }
    setItems(byId("attention"), items, (item) => item.key, () => make("li"),
      (node, item) => setText(node, item.text));
  }

  /** One box at a time can be reached with the tab key; arrows lead to the others. */
  #keepTabStop() {
    if (this.#list.querySelector("button[tabindex='0']")) return;
    this.#list.querySelector("button")?.setAttribute("tabindex", "0");
  }

  #move(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#columns(), ArrowUp: -this.#columns() };
    const buttons = [...this.#list.querySelectorAll("button")];
    const now = buttons.indexOf(document.activeElement);
    let next = now + (steps[event.key] ?? 0);
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = buttons.length - 1;
    if (now < 0 || next === now || !buttons[next]) return;
    event.preventDefault();
    buttons[now].setAttribute("tabindex", "-1");
    buttons[next].setAttribute("tabindex", "0");
    buttons[next].focus();
  }

  #columns() {
    return getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
  }

  #open(key) {
    this.#opened = key;
    this.#fillDialog();
    byId("client").showModal();
  }

  #fillDialog() {
    const client = this.#clients.find((one) => keyOf(one) === this.#opened);
    if (!client) return;
    setText(byId("client-title"), nameOf(client));
    const facts = [
      ["Address", client.address],
      ["State", client.state],
      ["Way", client.unicast ? "unicast" : "with the group"],
      ["Written", `${share(client).toFixed(1)} %`],
      ["Chunks", `${count(client.chunks_done ?? 0)} of ${count(client.chunks)}`],
      ["Rate", client.bits_per_sec === null ? "not told" : rate(client.bits_per_sec)],
      ["Loss now", percent(client.loss_millionths, 1e6, 2)],
      ["Blocks sent again", count(client.blocks_repeated)],
      ["Requests", count(client.requests)],
      ["Limited by", LIMITS[client.limited_by]],
      ["Time so far", clock(client.millis / 1000)],
      ["Time left", client.secs_left === null ? "–" : clock(client.secs_left)],
    ];
    if (client.trouble) facts.push(["Told of trouble", `${when(client.trouble.at_secs)} UTC`]);
    const why = reason(client);
    if (why) facts.push(["Attention", why, "bad"]);
    setFacts(byId("client-facts"), facts);
  }
}

function box() {
  const item = make("li");
  const button = make("button");
  button.type = "button";
  button.tabIndex = -1;
  const top = make("span", "top");
  top.append(make("span", "who"), make("span", "way"), make("span", "pct"));
  const how = make("span", "how");
  how.append(make("span"), make("span", "loss"), make("span"), make("span"));
  how.setAttribute("aria-hidden", "true");
  button.append(top, how, make("span", "unseen"));
  item.append(button);
  return item;
}

function fill(item, client) {
  const kind = kindOf(client);
  const done = share(client);
  const className = client.state === "done" ? `${kind} done` : kind;
  if (item.className !== className) item.className = className;
  const button = item.firstChild;
  const [top, how, said] = button.children;
  setText(top.children[0], MARKS[kind] + nameOf(client));
  setText(top.children[1], client.unicast ? "uni" : "");
  setText(top.children[2], client.state === "joined" ? "joined" : `${Math.floor(done)} %`);
  const isOver = client.state === "done" || client.state === "gone";
  setText(how.children[0], client.bits_per_sec === null ? "–" : rate(client.bits_per_sec));
  setText(how.children[1], client.loss_millionths > 0 ? percent(client.loss_millionths, 1e6) : "");
  setText(how.children[2], isOver ? "" : STAGES[client.limited_by]);
  setText(how.children[3], isOver ? clock(client.millis / 1000) : client.secs_left === null ? "–" : clock(client.secs_left));
  // A property of the object model is no inline style in the sense of the page's policy.
  button.style.setProperty("--share", done.toFixed(1));
  setText(said, sentence(client));
}
