// Keeps a page as things stand: one stream a browser, parts fetched anew when what they tell of has changed.
// A page is whole without it. docs/architecture.rst, "What pages hear", says how it hangs together.
(() => {
  "use strict";
  // --- keys, and what is copied ---
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.toggle("copies", !!navigator.clipboard);
  const list = byId("keys"), knob = list.querySelector("button");
  let kept = {};
  try { kept = localStorage; } catch {}  // then it holds for this page
  list.ontoggle = () => { knob.hidden = false, knob.textContent = kept.keys ? "Turn on" : "Turn off"; };
  knob.onclick = () => { kept.keys = kept.keys ? "" : "off", list.ontoggle(); };
  addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (kept.keys || target.matches("input:not([type=checkbox]),select,textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const found = [...document.querySelectorAll(`[aria-keyshortcuts="${CSS.escape(key)}"]`)].pop();
    if (found) event.preventDefault(), found.matches("input") ? found.focus() : found.click();
  });
  addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy]");
    if (button) navigator.clipboard.writeText(byId(button.dataset.copy).textContent).then(() => button.textContent = "Copied");
  });

  const mark = document.querySelector(".live[data-events]");
  if (!mark) return;
  const url = mark.dataset.events, word = mark.querySelector("span"), name = "live " + url;
  const channel = window.BroadcastChannel && navigator.locks ? new BroadcastChannel(name) : null;
  const dirty = new Map();  // by id of the part: when it may be fetched, in milliseconds
  let last = +mark.dataset.seq, heard = 0, when = Date.now(), ahead = 0, away = 0, synced = false, stream = null, said = null;

  // --- words, as web/pages/words.py has them ---
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const age = (then, now) => {
    const apart = Math.abs(now - then);
    if (apart < 2) return "just now";
    const [size, unit] = units.find(([size]) => apart >= size), count = Math.floor(apart / size) + " " + unit;
    return then <= now ? count + " ago" : "in " + count;
  };
  const took = (seconds) => {
    if (seconds < 9.95) return Math.max(0, seconds).toFixed(1) + " s";
    const whole = Math.round(seconds), at = units.findIndex(([size]) => whole >= size);
    const [size, unit] = units[at], [small, word] = units[at + 1] || [1, ""], rest = whole % size;
    return Math.floor(whole / size) + " " + unit + (word && rest >= small ? ` ${Math.floor(rest / small)} ${word}` : "");
  };
  const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  // --- a part becomes as it is now; what did not change stays, with what a reader does to it ---
  const key = (node) => node.id || (node.tagName === "TR" && (node.querySelector("a[href]") || {}).href) || "";
  const morph = (old, now) => {
    if (old.nodeType !== 1) {
      if (old.data !== now.data) old.data = now.data;
      return;
    }
    if (old.isEqualNode(now) || old.matches("[data-log]")) return;  // a log is kept by its own script
    if (old.tagName === "DETAILS") now.open = old.open;
    for (const { name } of [...old.attributes]) if (!now.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    let place = old.firstChild;
    for (const next of [...now.childNodes]) {
      let found = place;
      const wanted = next.nodeType === 1 ? key(next) : "";
      while (found && (found.nodeName !== next.nodeName || (found.nodeType === 1 && key(found) !== wanted)))
        found = wanted || (found === place && next.nodeType === 1 && !(found.nodeType === 1 && key(found))) ? found.nextSibling : null;
      if (!found) old.insertBefore(next, place);
      else {
        morph(found, next);
        if (found === place) place = place.nextSibling;
        else if (wanted) old.insertBefore(found, place);
        else while (place !== found.nextSibling) { const gone = place; place = place.nextSibling; gone.remove(); }
      }
    }
    while (place) { const gone = place; place = place.nextSibling; gone.remove(); }
  };
  const fetchPart = async (part) => {
    const at = new URL(location.href);
    at.hash = "";
    at.searchParams.set("part", part.id);
    const answer = await fetch(at, { cache: "no-cache" });
    if (!answer.ok || answer.headers.get("ETag") === part.tag) return;
    const now = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
    if (!now) return;
    const chosen = getSelection();
    if (!chosen.isCollapsed && chosen.containsNode(part, true)) return touch(part);
    part.tag = answer.headers.get("ETag");
    morph(part, now);
  };
  const touch = (part) => {
    if (!dirty.has(part.id)) dirty.set(part.id, Math.max(Date.now() + Math.random() * 300, (part.at || 0) + 1000));
  };
  const changed = (topics) => {
    for (const part of document.querySelectorAll("[data-live][id]"))
      if (!topics || part.dataset.live.split(" ").some((one) => topics.includes(one) || topics.includes(one.replace(/\d+/, "*"))))
        touch(part);
  };

  // --- what is told ---
  const hear = (message, own) => {
    const [kind, data, seq] = message;
    heard = performance.now(), when = Date.now(), said = message;
    if (!synced && !own && seq > last) changed();
    synced = true;
    if (seq) last = seq;
    const was = away;
    if (kind === "alive") away = 0, ahead = data * 1000 - when;
    else if (kind === "silent") away = data * 1000;
    else changed(kind === "reset" ? null : data.split(" "));
    if (was !== away) changed(["alive"]);
    show();
  };
  const listen = () => {
    stream = new EventSource(url + "?last=" + last);
    for (const kind of ["alive", "silent", "changed", "reset"])
      stream.addEventListener(kind, (event) => {
        const message = [kind, event.data, +event.lastEventId];
        if (channel) channel.postMessage(message);
        hear(message, true);
      });
    stream.onerror = () => {
      if (stream && stream.readyState === 2) stream = null, setTimeout(() => stream || listen(), 5000 + Math.random() * 5000);
    };
  };
  // --- once in a while ---
  const show = () => {
    const live = !away && heard && performance.now() - heard < 10000;
    const since = new Date(away ? away - ahead : when).toTimeString().slice(0, 5);
    mark.hidden = false;
    mark.classList.toggle("off", !live);
    put(word, live ? "live" : heard ? "not live since " + since : "not live");
    return live;
  };
  const turn = () => {
    const live = show() && !document.hidden, now = (Date.now() + ahead) / 1000;
    if (live) {
      for (const node of document.querySelectorAll("main time[datetime]"))
        if (/ ago$|^in |^just now$/.test(node.textContent)) put(node, age(Date.parse(node.dateTime) / 1000, now));
      for (const node of document.querySelectorAll("main [data-since]")) put(node, took(now - node.dataset.since));
    }
    if (!document.hidden)
      for (const [id, at] of dirty) {
        const part = byId(id);
        if (part && at > Date.now()) continue;
        dirty.delete(id);
        if (part) part.at = Date.now(), fetchPart(part).catch(() => touch(part));
      }
  };
  setInterval(turn, 250);
  setTimeout(show, 1000);
  document.addEventListener("visibilitychange", turn);
  addEventListener("pageshow", (event) => event.persisted && changed());
  if (channel) {
    channel.onmessage = ({ data }) => data === "?" ? stream && said && channel.postMessage(said) : stream || hear(data);
    channel.postMessage("?");
    navigator.locks.request(name, () => new Promise(() => listen()));
  } else {
    // Without a secure origin tabs cannot agree: whichever is looked at listens for itself.
    const look = () => {
      if (!document.hidden) return stream || listen();
      if (stream) stream.close(), stream = null;
    };
    document.addEventListener("visibilitychange", look);
    look();
  }
})();
