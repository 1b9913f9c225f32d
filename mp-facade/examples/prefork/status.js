// Asks for /status.json every second, and shows it. Nothing is loaded from anywhere else.
"use strict";

const EVERY_MS = 1000;
const SECONDS = 60;
const RECENT_MS = 10 * 60 * 1000; // a crash is shown in red for so long
const SIGNALS = { 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM" };
const get = (id) => document.getElementById(id);
const show = (id, text) => { get(id).textContent = text; };
const count = (n) => Number(n).toLocaleString("en");
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

function duration(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function draw(history) {
  const most = Math.max(0, ...history);
  const top = Math.max(1, most);
  const step = 600 / (SECONDS - 1);
  const left = 600 - step * (history.length - 1);
  const points = history.map((n, i) => `${(left + i * step).toFixed(1)} ${(98 - (n / top) * 94).toFixed(1)}`);
  const line = points.length ? `M${points.join("L")}` : "";
  document.querySelector("#spark .line").setAttribute("d", line);
  document.querySelector("#spark .area").setAttribute("d", line && `${line}L600 99L${left.toFixed(1)} 99Z`);
  const now = history.length ? history[history.length - 1] : 0;
  show("rate", count(now));
  show("peak", `peak ${count(most)} in this minute`);
  get("spark").setAttribute("aria-label", `Requests a second over the last minute: ${now} now, at most ${most}`);
}

function cell(name, text, className) {
  const td = document.createElement("td");
  if (name) td.dataset.name = name;
  if (className) td.className = className;
  td.append(text);
  return td;
}

let last = { at: 0, done: new Map() };

function row(process, kind, status) {
  const before = last.done.get(process.pid);
  const seconds = (status.uptime_ms - last.at) / 1000;
  const rate = before === undefined || seconds <= 0 ? "–" : count(Math.round((process.done - before) / seconds));
  const tr = document.createElement("tr");
  const name = cell("", `${kind} ${process.seat + 1}`);
  const pid = document.createElement("small");
  pid.textContent = `pid ${process.pid}`;
  name.append(pid);
  const state = cell("", process.state, "state");
  state.dataset.state = process.state;
  const work = kind === "worker";
  const crash = process.last_crash;
  const how = crash && (SIGNALS[crash.signal] || (crash.signal ? `signal ${crash.signal}` : "panic or error"));
  tr.append(
    name, state,
    cell(work ? "requests" : "jobs", count(process.done), "n"),
    cell("a second", rate, "n"),
    cell("in hand", count(process.in_hand), "n"),
    work ? cell("connections", count(process.connections), "n") : cell("repeated", count(process.repeated), "n"),
    cell("up", duration(process.age_ms), "n"),
    cell("restarts", count(process.restarts), "n"),
    crash ? cell("last crash", `${how}, ${duration(crash.ago_ms)} ago`, crash.ago_ms < RECENT_MS ? "crash" : "") : cell("last crash", "none", "quiet"),
  );
  return tr;
}

function update(status) {
  draw(status.per_second);
  show("uptime", duration(status.uptime_ms));
  show("reloads", plural(status.reloads, "reload", "reloads"));
  show("hits", count(status.hits));
  show("sessions", status.sessions === null ? "–" : count(status.sessions));
  show("sessions-note", status.sessions === null ? "the manager does not answer" : "in the manager");
  show("queue", count(status.queue.waiting));
  show("queue-note", `waiting, ${count(status.queue.in_hand)} in hand`);
  show("limited", count(status.limited));
  show("restarts", count(status.restarts));
  show("lost", `${plural(status.lost_requests, "request", "requests")} lost`);
  get("workers").replaceChildren(...status.workers.map((process) => row(process, "worker", status)));
  get("background").replaceChildren(...status.background.map((process) => row(process, "background", status)));
  const all = [...status.workers, ...status.background];
  last = { at: status.uptime_ms, done: new Map(all.map((process) => [process.pid, process.done])) };
  document.documentElement.dataset.updates = Number(document.documentElement.dataset.updates) + 1;
}

function tell(state, text) {
  const line = get("state");
  if (line.textContent !== text) line.textContent = text; // otherwise, screen readers would repeat it
  line.dataset.state = state;
}

async function poll() {
  try {
    const reply = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!reply.ok) throw new Error(`status ${reply.status}`);
    const status = await reply.json();
    update(status);
    tell(status.ends ? "waiting" : "live", status.ends ? "ending" : "live");
  } catch (error) {
    tell("lost", "no answer, trying again");
  }
  setTimeout(poll, EVERY_MS);
}

poll();
