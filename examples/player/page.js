// The page: a session from its server, a player on it, and what came of it.

import { OwnClock } from "./own_clock.js";
import { PLAYERS } from "./players.js";

const CONTENT = "counting";
const SENT = "Ratecast-Sent"; // when a report is sent: by it, a late one or a wrong clock is put right
const byId = (id) => document.getElementById(id);
const video = byId("video");
const clock = new OwnClock(video);

let session = null; // { session, content, reports }
let destroy = null;
let lastReport = null; // of the session: what the player itself said last

byId("play").onclick = async () => {
  if (session !== null) return video.play();
  session = { content: CONTENT, ...(await ask("session", { method: "POST" })) };
  watchReports(session.reports);
  destroy = PLAYERS[byId("player").value](video, session);
  await video.play();
};
byId("pause").onclick = () => video.pause();
byId("seek").onclick = () => { video.currentTime += 20; };
byId("stall").onclick = () => ask("stall", { method: "POST" });
byId("stop").onclick = quit;
addEventListener("pagehide", quit);

// Players say nothing when they are put away, so the page says that the viewer quit. `keepalive`
// brings it out even while the page goes.
function quit() {
  if (destroy === null) return;
  const sn = Number(/(?:^|,)sn=(\d+)/.exec(lastReport)?.[1] ?? -1) + 1;
  const report = `cid="${CONTENT}",e=ps,sid="${session.session}",sn=${sn},sta=q,ts=${Date.now()},v=2`;
  const headers = { "Content-Type": "application/cmcd", [SENT]: Date.now() };
  fetch(session.reports, { method: "POST", headers, body: report, keepalive: true });
  destroy();
  destroy = null;
  // A session ends once, and so does what the page shows of it.
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  byId("play").textContent = "Reload the page to play again";
}

// Shows what is posted to the report URL, by fetch or XMLHttpRequest, and says when it is sent. The
// players know no such header; their reports are not changed.
function watchReports(url) {
  const { fetch } = window;
  window.fetch = (target, options) => {
    if (target !== url) return fetch(target, options);
    show(options.body);
    const headers = new Headers(options.headers);
    headers.set(SENT, Date.now());
    return fetch(target, { ...options, headers });
  };
  const { open, send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (method, target, ...rest) {
    this.isReport = target === url;
    return open.call(this, method, target, ...rest);
  };
  XMLHttpRequest.prototype.send = function (body) {
    if (this.isReport) {
      show(body);
      this.setRequestHeader(SENT, Date.now());
    }
    return send.call(this, body);
  };
}

function show(body) {
  lastReport = body.trim().split("\n").at(-1);
  byId("reports").append(`${body.trim()}\n`);
  byId("reports").scrollTop = byId("reports").scrollHeight;
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const said = await answer.json();
  byId("said").textContent = said.why ?? "";
  return said;
}

setInterval(() => {
  byId("watched").textContent = `${(clock.watchedMs / 1000).toFixed(3)} s`;
}, 100);

setInterval(async () => {
  if (session === null) return;
  const { charged } = await ask(`charged?session=${session.session}`);
  if (charged) byId("charged").textContent = charged;
}, 2000);

// For the console, and for tests.
Object.assign(window, { ownClock: clock });
Object.defineProperty(window, "viewing", { get: () => session });
