// Asks for a newer page every second, and shows its content. Nothing is loaded from anywhere else.
"use strict";

const EVERY_MS = 1000;

function tell(state, text) {
  const line = document.getElementById("state");
  if (line.textContent !== text) line.textContent = text; // otherwise, screen readers would repeat it
  line.dataset.state = state;
}

async function poll() {
  try {
    const reply = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(15000) });
    if (!reply.ok) throw new Error(`status ${reply.status}`);
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    tell("live", "live");
    document.documentElement.dataset.updates = Number(document.documentElement.dataset.updates) + 1;
  } catch (error) {
    tell("lost", "no answer, trying again");
  }
  setTimeout(poll, EVERY_MS);
}

poll();
