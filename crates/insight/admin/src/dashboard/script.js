"use strict";
// Polls /health, /metrics and /connections and shows what changed. All text goes in as text, never as HTML.

const EVERY_MS = 2000;
const KEPT = 60;
const LISTED = 200;

const tiles = [
  { name: "Open connections", of: (now) => sum(now, "millstream_connections"), show: whole },
  { name: "Accepted / s", of: rate("millstream_server_accepted_total"), show: short },
  { name: "Responses / s", of: rate("millstream_http_responses_total"), show: short },
  { name: "5xx / s", of: rate("millstream_http_responses_total", (l) => l.status === "5xx"), show: short, bad: true },
  { name: "Median latency", of: quantile(0.5), show: duration },
  { name: "99th percentile", of: quantile(0.99), show: duration },
  { name: "Blocked workers / s", of: rate("millstream_worker_blocked_total"), show: short, bad: true },
  { name: "Memory", of: (now) => sum(now, "process_resident_memory_bytes"), show: bytes },
  { name: "Descriptors", of: (now) => sum(now, "process_open_fds"), show: whole },
];

const LATENCY = "millstream_http_request_duration_seconds_bucket";
const $ = (id) => document.getElementById(id);
let before = null;

// --- reading ---

function parse(text) {
  const points = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/i.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, key, value] of (match[2] || "").matchAll(/([a-z_0-9]+)="((?:[^"\\]|\\.)*)"/gi)) labels[key] = value;
    if (!points.has(match[1])) points.set(match[1], []);
    points.get(match[1]).push({ labels, value: Number(match[3].replace("Inf", "Infinity")) });
  }
  return { at: performance.now(), points };
}

function sum(page, name, keep = () => true) {
  const points = page.points.get(name) || [];
  return points.filter((point) => keep(point.labels)).reduce((total, point) => total + point.value, 0);
}

function rate(name, keep) {
  return (now, last) => {
    if (!last) return NaN;
    return Math.max(0, sum(now, name, keep) - sum(last, name, keep)) / ((now.at - last.at) / 1000);
  };
}

// The edge below which `q` of the requests since the last look lie.
function quantile(q) {
  return (now, last) => {
    const edges = new Map();
    for (const [page, sign] of [[now, 1], [last, -1]]) {
      for (const { labels, value } of (page && page.points.get(LATENCY)) || []) {
        const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
        edges.set(edge, (edges.get(edge) || 0) + sign * value);
      }
    }
    const sorted = [...edges].sort((a, b) => a[0] - b[0]);
    const total = sorted.length ? sorted[sorted.length - 1][1] : 0;
    const found = total > 0 && sorted.find(([, count]) => count >= q * total);
    return found ? found[0] : NaN;
  };
}

// --- showing ---

function whole(value) { return Math.round(value).toLocaleString("en"); }
function short(value) { return value >= 100 ? whole(value) : value.toFixed(1); }
function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (value >= 1024 && step < units.length - 1) { value /= 1024; step += 1; }
  return `${step && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[step]}`;
}
function duration(seconds) {
  if (seconds === Infinity) return "> 60 s"; // edges of buckets: at most so much
  if (seconds >= 1) return `≤ ${seconds} s`;
  return seconds >= 0.001 ? `≤ ${+(seconds * 1e3).toFixed(2)} ms` : `≤ ${+(seconds * 1e6).toFixed(1)} µs`;
}
function span(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} d`;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function buildTiles() {
  for (const tile of tiles) {
    tile.past = [];
    const box = element("div", undefined, "tile");
    tile.box = box;
    tile.text = element("div", "–", "value");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 30`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    tile.line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    svg.append(tile.line);
    box.append(element("div", tile.name, "name"), tile.text, svg);
    $("tiles").append(box);
  }
}

function showTiles(now) {
  for (const tile of tiles) {
    const value = tile.of(now, before);
    tile.text.textContent = Number.isNaN(value) ? "–" : tile.show(value);
    tile.box.classList.toggle("bad", Boolean(tile.bad && value > 0));
    tile.past.push(Number.isFinite(value) ? value : 0);
    if (tile.past.length > KEPT) tile.past.shift();
    const top = Math.max(...tile.past, 1e-9);
    const first = KEPT - tile.past.length;
    const points = tile.past.map((v, i) => `${first + i},${(29 - (v / top) * 28).toFixed(2)}`);
    tile.line.setAttribute("points", points.join(" "));
  }
}

function fill(id, columns, rows) {
  const [head, body] = [$(id).tHead, $(id).tBodies[0]];
  const kind = (column) => (column[2] ? "number" : "");
  const titles = element("tr");
  titles.append(...columns.map((column) => element("th", column[0], kind(column))));
  head.replaceChildren(titles);
  body.replaceChildren(...rows.map((row) => {
    const line = element("tr");
    line.append(...columns.map((column) => {
      const value = column[1](row);
      if (!(value instanceof Element)) return element("td", String(value), kind(column));
      const cell = element("td");
      cell.append(value);
      return cell;
    }));
    return line;
  }));
}

// Which part of a budget is in use, and by what.
function bar(budget) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "bar");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${whole(budget.open + budget.time_wait + budget.foreign)} of ${whole(budget.ports)} held`);
  let from = 0;
  for (const [kind, count] of [["open", budget.open], ["waiting", budget.time_wait], ["foreign", budget.foreign]]) {
    const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const width = Math.min(100 - from, (100 * count) / Math.max(1, budget.ports));
    for (const [name, value] of [["x", from], ["y", 0], ["width", width], ["height", 10], ["class", kind]]) part.setAttribute(name, value);
    svg.append(part);
    from += width;
  }
  return svg;
}

function showTargets(report) {
  $("ports-room").hidden = report.budgets.length === 0;
  fill("ports", [
    ["from", (b) => b.local], ["to", (b) => b.remote], ["in use", bar], ["open", (b) => whole(b.open), true],
    ["TIME_WAIT", (b) => whole(b.time_wait), true], ["others", (b) => whole(b.foreign), true],
    ["free", (b) => `${whole(b.free)} of ${whole(b.ports)}`, true], ["level", (b) => b.level],
    ["used up / s", (b) => short(b.per_second), true], ["taken over", (b) => whole(b.taken_over), true],
    ["exhausted in", (b) => (b.seconds_to_exhaustion === undefined ? "never, at this rate" : span(b.seconds_to_exhaustion))],
  ], report.budgets);
  $("targets-room").hidden = report.targets.length === 0;
  const total = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);
  fill("targets", [
    ["target", (t) => t.target], ["open", (t) => whole(t.open), true], ["opened", (t) => whole(t.opened), true],
    ["requests", (t) => whole(t.requests), true],
    ["reused", (t) => (t.reuse_ratio === undefined ? "" : `${(100 * t.reuse_ratio).toFixed(1)} %`), true],
    ["avoidable", (t) => whole(total(t.avoidable)), true],
    ["mostly since", (t) => (Object.entries(t.avoidable).sort((a, b) => b[1] - a[1])[0] || [""])[0].replaceAll("_", " ")],
    ["handshakes", (t) => span(t.handshake_seconds), true], ["of them wasted", (t) => span(t.wasted_seconds), true],
    ["dials failed", (t) => whole(t.dials_failed), true],
  ], report.targets);
}

function showConnections(report) {
  showTargets(report);
  $("shown").textContent = `${whole(report.listed)} of ${whole(report.open)} shown`;
  fill("live", [
    ["id", (c) => c.id, true], ["side", (c) => c.side], ["peer", (c) => c.peer], ["local", (c) => c.local],
    ["state", (c) => c.state], ["age", (c) => span(c.age_seconds), true],
    ["idle", (c) => (c.state === "idle" ? span(c.idle_seconds) : ""), true], ["messages", (c) => whole(c.messages), true],
    ["in", (c) => bytes(c.bytes_in), true], ["out", (c) => bytes(c.bytes_out), true],
    ["tls", (c) => (c.tls ? "yes" : "")], ["opened for", (c) => c.opener],
  ], report.connections);
  const rows = [];
  for (const [side, of] of Object.entries(report.sides)) {
    for (const [why, count] of Object.entries(of.opened_for)) rows.push({ what: "opened", side, why, by: "", count });
    for (const [why, parties] of Object.entries(of.ended_for)) {
      for (const [by, count] of Object.entries(parties)) rows.push({ what: "ended", side, why, by, count });
    }
  }
  const { opened, open, ended } = report;
  $("balance").textContent = `${whole(opened)} opened = ${whole(open)} open + ${whole(ended)} ended`;
  fill("causes", [
    ["what", (r) => r.what], ["side", (r) => r.side], ["why", (r) => r.why.replaceAll("_", " ")],
    ["closed first by", (r) => r.by], ["count", (r) => whole(r.count), true],
  ], rows);
}

function showHealth(health) {
  $("status").textContent = health.status;
  $("status").className = `pill ${health.status}`;
  const left = health.drain_seconds_left === undefined ? "" : ` · ${span(health.drain_seconds_left)} left`;
  $("facts").textContent = `version ${health.version} · up ${span(health.uptime_seconds)} · ${health.workers} workers${left}`;
}

async function look() {
  try {
    const [health, metrics, connections] = await Promise.all(
      ["/health", "/metrics", `/connections?limit=${LISTED}`].map((path) => fetch(path)));
    showHealth(await health.json());
    const now = parse(await metrics.text());
    showTiles(now);
    before = now;
    showConnections(await connections.json());
  } catch {
    $("status").textContent = "unreachable";
    $("status").className = "pill unreachable";
  }
  setTimeout(look, document.hidden ? EVERY_MS * 5 : EVERY_MS);
}

buildTiles();
look();
