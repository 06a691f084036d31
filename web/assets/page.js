// What the page does: asks the API every two seconds while it is looked at, and follows the events.

import { draw, ratePoints, repairPoints } from "./charts.js";
import { Clients } from "./clients.js";
import { byId, bytes, clock, count, make, percent, plural, rate, setFacts, setItems, setText, when } from "./words.js";

const POLL_MILLIS = 2000;
const IMAGES_MILLIS = 30000;
const SAMPLES_MAX = 300;
const EVENTS_MAX = 60;

const clients = new Clients();
let selected = new URLSearchParams(location.hash.slice(1)).get("session");
let samples = [];
let samplesOf = null;
let imagesAt = 0;
let wantsToken = false;

class Refused extends Error {}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
  const error = answer.status === 401 ? new Refused(problem.detail) : new Error(problem.detail);
  error.status = answer.status;
  throw error;
}

const read = async (path) => (await ask(path)).json();

function showLink(state, text) {
  byId("link").className = `link ${state}`;
  setText(byId("link"), text);
}

async function poll() {
  try {
    const [host, { sessions }, { uploads }] = await Promise.all([
      read("/api/v1/host"), read("/api/v1/sessions"), read("/api/v1/uploads"),
    ]);
    showHost(host, sessions);
    showSessions(sessions);
    showUploads(uploads);
    await showSelected(sessions);
    if (Date.now() - imagesAt > IMAGES_MILLIS) await readImages();
    showLink("up", "live");
    askForToken(null);
    document.body.dataset.ready = "yes";
  } catch (error) {
    if (error instanceof Refused) askForToken(error.message);
    showLink("down", error instanceof TypeError ? "the host does not answer; trying again" : error.message);
  }
}

function askForToken(why) {
  wantsToken = why !== null;
  byId("token-form").hidden = !wantsToken;
  if (wantsToken && sessionStorage.getItem("token")) setText(byId("token-error"), why);
}

function showHost(host, sessions) {
  const name = host.name || "Image host";
  setText(byId("host-name"), name);
  const loading = sessions.reduce((sum, s) => sum + s.clients_loading, 0);
  document.title = loading ? `${count(loading)} loading – ${name}` : name;
  const sent = sessions.reduce((sum, s) => sum + s.sent_bits_per_sec, 0);
  const limit = host.rate_bits_per_sec > 0 ? ` of ${rate(host.rate_bits_per_sec)}` : "";
  setFacts(byId("host-facts"), [
    ["sessions", count(sessions.length)], ["loading", count(loading)], ["sending", rate(sent) + limit],
  ]);
  showLines(byId("warnings"), host.warnings);
  setText(byId("version"), host.version ? `Version ${host.version}.` : "");
}

function showLines(list, lines) {
  list.hidden = lines.length === 0;
  setItems(list, lines, (line) => line, () => make("li"), setText);
}

function showSessions(sessions) {
  byId("no-sessions").hidden = sessions.length > 0;
  setItems(byId("session-list"), sessions, (session) => session.id, sessionCard, (card, session) => {
    const button = card.firstChild;
    button.setAttribute("aria-pressed", String(session.id === selected));
    const [name, where, how, trouble] = button.children;
    setText(name, session.image);
    setText(where, `${session.group} port ${session.port} on ${session.interface}`);
    setText(how, `${count(session.clients_loading)} loading, ${count(session.clients_done)} done, ${rate(session.sent_bits_per_sec)}`);
    trouble.hidden = session.clients_in_trouble === 0;
    setText(trouble, `⚠ ${plural(session.clients_in_trouble, "client", "clients")} in trouble`);
  });
}

function sessionCard(session) {
  const card = make("li");
  const button = make("button");
  button.type = "button";
  button.append(make("span", "name"), make("span", "dim"), make("span", "dim"), make("span", "bad"));
  button.addEventListener("click", () => {
    select(session.id);
    void poll().then(() => byId("session-title").focus());
  });
  card.append(button);
  return card;
}

function select(id) {
  selected = id;
  history.replaceState(null, "", id ? `#session=${encodeURIComponent(id)}` : "#");
}

async function showSelected(sessions) {
  const session = sessions.find((one) => one.id === selected) ?? sessions[0];
  byId("session").hidden = !session;
  if (!session) return;
  if (session.id !== selected) select(session.id);
  const path = `/api/v1/sessions/${encodeURIComponent(session.id)}`;
  if (samplesOf !== session.id) {
    samples = (await read(`${path}/history`)).samples;
    samplesOf = session.id;
    setText(byId("session-said"), "");
  }
  const found = await read(`${path}/clients`);
  samples.push({ at_secs: Date.now() / 1000, ...session });
  samples.splice(0, samples.length - SAMPLES_MAX);
  clients.set(found.clients);
  showSession(session);
}

function showSession(session) {
  setText(byId("session-title"), session.image);
  const { median, secsLeft } = clients.summary;
  const facts = [
    ["group", `${session.group} port ${session.port}`], ["by", `${session.kind} on ${session.interface}`],
    ["size", bytes(session.image_bytes)], ["loading", count(session.clients_loading)],
    ["done", count(session.clients_done)],
  ];
  if (session.clients_in_trouble) facts.push(["in trouble", count(session.clients_in_trouble), "bad"]);
  if (median !== null) facts.push(["middle client", `${median.toFixed(0)} %`]);
  if (secsLeft) facts.push(["slowest needs", clock(secsLeft)]);
  facts.push(["sent", percent(session.blocks_sent, session.image_blocks, 0)], ["requests", count(session.requests)]);
  for (const [name, number] of [["kernel drops", session.kernel_drops], ["read errors", session.read_errors], ["bad datagrams", session.datagrams_bad]]) {
    if (number) facts.push([name, count(number), "bad"]);
  }
  if (session.clients_loading === 0 && session.idle_secs_left !== null) {
    facts.push(["ends when idle in", clock(session.idle_secs_left)]);
  }
  setFacts(byId("session-facts"), facts);
  showLines(byId("session-warnings"), session.warnings);
  const repair = repairPoints(samples);
  setText(byId("rate-now"), `${rate(session.sent_bits_per_sec)} of ${rate(session.rate_bits_per_sec)} allowed`);
  setText(byId("repair-now"), `${(repair.at(-1)?.value ?? 0).toFixed(1)} % now, ${percent(session.blocks_repeated, session.blocks_sent)} in all`);
  draw(byId("rate-chart"), ratePoints(samples), rate, 1e6);
  draw(byId("repair-chart"), repair, (value) => `${value} %`, 1);
}

function showUploads(uploads) {
  byId("no-uploads").hidden = uploads.length > 0;
  setItems(byId("uploads"), uploads, (upload) => `${upload.name} ${upload.peer}`, () => {
    const item = make("li");
    item.append(make("span"), make("progress"));
    return item;
  }, (item, upload) => {
    const of = upload.bytes_expected === null ? "" : ` of ${bytes(upload.bytes_expected)}`;
    setText(item.firstChild, `${upload.name} from ${upload.peer}: ${bytes(upload.bytes)}${of}`);
    const bar = item.lastChild;
    bar.setAttribute("aria-label", upload.name);
    if (upload.bytes_expected === null) bar.removeAttribute("value");
    else bar.value = upload.bytes / Math.max(upload.bytes_expected, 1);
  });
}

async function readImages() {
  const { images } = await read("/api/v1/images");
  imagesAt = Date.now();
  byId("no-images").hidden = images.length > 0;
  byId("images-box").hidden = images.length === 0;
  setItems(byId("images"), images, (image) => image.name, () => {
    const row = make("tr");
    const name = make("td");
    name.append(make("a"));
    row.append(name, make("td", "number"), make("td", "date"));
    return row;
  }, (row, image) => {
    const link = row.children[0].firstChild;
    link.href = `/api/v1/data/${image.name.split("/").map(encodeURIComponent).join("/")}`;
    setText(link, image.name);
    setText(row.children[1], bytes(image.bytes));
    setText(row.children[2], when(image.modified_secs));
  });
}

const SAYINGS = {
  session_started: (e) => `session for ${e.image} started on ${e.group} port ${e.port}`,
  session_ended: (e) => `session for ${e.image} ended: ${e.why}`,
  client_joined: (e) => `${e.client} joined${e.unicast ? " by unicast" : ""}`,
  client_left: (e) => `${e.client} ${e.done ? "has the whole image" : "left early"} after ${clock(e.millis / 1000)}`,
  client_trouble: (e) => `${e.client} has trouble with ${e.image}: ${e.trouble.what.replace("_", " ")}${e.trouble.fallback ? "; fell back to unicast" : ""}`,
  upload_started: (e) => `upload of ${e.name} from ${e.peer} began`,
  upload_ended: (e) => (e.error ? `upload of ${e.name} failed: ${e.error}` : `${e.name} was published, ${bytes(e.bytes)}`),
  image_deleted: (e) => `${e.name} was deleted`,
};
const isBad = (e) => e.event === "client_trouble" || (e.event === "client_left" && !e.done) || Boolean(e.error);

function happened(event) {
  const say = SAYINGS[event.event];
  if (!say) return;
  const text = say(event);
  const item = make("li", isBad(event) ? "bad" : "");
  item.append(make("time", "", new Date().toTimeString().slice(0, 8)), text);
  byId("no-events").hidden = true;
  byId("events").prepend(item);
  while (byId("events").children.length > EVENTS_MAX) byId("events").lastChild.remove();
  if (isBad(event)) setText(byId("announce"), text);
  if (event.event === "upload_ended" || event.event === "image_deleted") imagesAt = 0;
}

/** Reads the stream of events; an EventSource could not send a token. */
async function follow() {
  const answer = await ask("/api/v1/events");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data) happened(JSON.parse(data.slice(6)));
    }
  }
}

const pause = (millis) => new Promise((resume) => setTimeout(resume, millis));

async function followForEver() {
  for (;;) {
    // The link is shown by the poll; here it is enough to try again.
    if (!wantsToken) await follow().catch(() => {});
    await pause(3000 + 2000 * Math.random());
  }
}

async function pollForEver() {
  for (;;) {
    if (!document.hidden && !wantsToken) await poll();
    await pause(POLL_MILLIS);
  }
}

async function stop() {
  const path = `/api/v1/sessions/${encodeURIComponent(selected)}`;
  const said = byId("session-said");
  if (!confirm("Stop this session?")) return;
  try {
    await ask(path, { method: "DELETE" }).catch((error) => {
      if (error.status === 409 && confirm(`${error.message}. Stop it all the same? Their loads will fail.`)) {
        return ask(`${path}?force=true`, { method: "DELETE" });
      }
      throw error;
    });
    await poll();
  } catch (error) {
    setText(said, `Not stopped: ${error.message}`);
    if (error instanceof Refused) askForToken(error.message);
  }
}

byId("stop").addEventListener("click", () => void stop());
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  byId("token").value = "";
  void poll();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) void poll(); });

void pollForEver();
void followForEver();
