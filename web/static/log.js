/* A log of any length: its index says where lines are, ranges bring the bytes, some sixty lines are in the page. */
"use strict";
for (const box of document.querySelectorAll("[data-log]")) {
  const $ = (what) => box.querySelector(`[data-${what}]`), { log, index, search } = box.dataset;
  const view = $("view"), pane = $("pane"), say = $("say"), input = $("q"), fold = $("case"), tall = document.createElement("div");
  const STEP = 65536, ROW = 20, TALL = 8e6, KEPT = 64, LONG = 4000, chunks = new Map(), text = new TextDecoder();
  const on = { follow: false, wrap: false, times: false };
  let before = [0], lines = 0, length = 0, finished = false, next = 0, errors = [], count = 0, times = [], phases = [], cuts = [];
  let kept = 0, folded = new Set(), gaps = [], rows = 0, hits = null, word = "", from = 0, to = 0, turn = 0, asked;

  const num = (n) => n.toLocaleString("en"), some = (n, word) => `${num(n)} ${word}${n === 1 ? "" : "s"}`;

  /* Bytes and lines. A line n (from 1) begins behind line end n - 1; before[k] line ends lie before chunk k. */
  const bytes = async (k) => {
    // They are kept by where they end, so that the last one, which grows, is kept as well: each of its lines asks for it.
    const at = k * STEP, end = Math.min(at + STEP, length), kept = chunks.get(end);
    if (end <= at) return new Uint8Array();
    chunks.delete(end);
    const got = kept || fetch(log, { headers: { Range: `bytes=${at}-${end - 1}` } })
      .then((r) => r.ok ? r.arrayBuffer() : Promise.reject()).then((b) => new Uint8Array(b));
    chunks.set(end, got);
    if (chunks.size > KEPT) chunks.delete(chunks.keys().next().value);
    return got.catch((e) => { chunks.delete(end); throw e; });
  };
  const holds = (line) => {
    let lo = 0, hi = before.length - 1;
    while (lo < hi) { const mid = (lo + hi + 1) >> 1; before[mid] < line - 1 ? lo = mid : hi = mid - 1; }
    return lo;
  };
  const start = async (line) => {
    let k = holds(line), at = 0;
    const data = await bytes(k);
    for (let n = before[k] + 1; n < line; n++) at = data.indexOf(10, at) + 1;
    return [k, at];
  };
  const read = async (line, many) => {
    const found = [];
    let [k, at] = await start(line);
    while (found.length < many && line + found.length <= lines) {
      let data = (await bytes(k)).subarray(at), end = data.indexOf(10);
      const place = k * STEP + at;
      if (end < 0 && data.length < LONG) {
        const more = await bytes(k + 1), both = new Uint8Array(data.length + more.length);
        both.set(data); both.set(more, data.length); data = both; end = data.indexOf(10);
      }
      found.push([line + found.length, text.decode(data.subarray(0, Math.min(end < 0 ? LONG : end, LONG))), place]);
      if (end >= 0) { at += end + 1; while (at >= STEP) { at -= STEP; k++; } }
      else [k, at] = await start(line + found.length);
    }
    return found;
  };

  /* Rows: what is not folded away. A gap is [first line behind the head of a folded phase, how many are hidden]. */
  const arrange = () => {
    gaps = phases.flatMap((p, i) => folded.has(i) ? [[p.line + 1, Math.max(0, (phases[i + 1]?.line || lines + 1) - p.line - 1)]] : []);
    rows = lines - gaps.reduce((sum, g) => sum + g[1], 0);
    tall.style.height = Math.min(rows * ROW, TALL) + "px";
  };
  const lineOf = (row) => gaps.reduce((line, g) => line >= g[0] ? line + g[1] : line, row + 1);
  const rowOf = (line) => gaps.reduce((row, g) => line >= g[0] ? row - Math.min(g[1], line - g[0] + 1) : row, line - 1);
  const room = () => Math.floor(view.clientHeight / ROW), high = () => Math.min(rows * ROW, TALL);
  const scale = () => rows * ROW <= TALL ? 1 / ROW : Math.max(1, rows - room()) / Math.max(1, high() - view.clientHeight);

  /* Colours become classes, since no style may stand in the page. */
  const paint = (line, into) => {
    let css = {};
    line.replace(/\r+$/, "").split("\r").pop().split(/\x1b\[([0-9;:]*)m/).forEach((part, i) => {
      if (i % 2) {
        const codes = part.split(/[;:]/);
        for (let n; codes.length;) {
          n = +codes.shift();
          if (n === 38 || n === 48) { const m = codes.shift(), c = codes.splice(0, m === "5" ? 1 : 3)[0]; if (n === 38 && m === "5" && c < 16) css.c = "c" + c % 8; }
          else if (!n) css = {};
          else if (n === 1) css.b = "b"; else if (n === 2) css.b = "d"; else if (n === 22) css.b = ""; else if (n === 4) css.u = "u"; else if (n === 24) css.u = "";
          else if (n > 29 && n < 38 || n > 89 && n < 98) css.c = "c" + n % 10; else if (n === 39) css.c = "";
        }
        return;
      }
      const clean = part.replace(/\x1b(\[[0-?]*[ -\/]*[@-~]?|[\]PX^_][^\x07\x1b]*(\x07|\x1b\\)?|.?)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "");
      const low = fold.checked ? clean : clean.toLowerCase(), key = fold.checked ? word : word.toLowerCase(), name = Object.values(css).filter(Boolean).join(" ");
      for (let at = 0, hit; at < clean.length; at = hit + key.length) {
        hit = key ? low.indexOf(key, at) : -1;
        const span = document.createElement("span");
        span.className = name; span.textContent = clean.slice(at, hit < 0 ? undefined : hit); into.append(span);
        if (hit < 0) break;
        const mark = document.createElement("mark");
        mark.textContent = clean.slice(hit, hit + key.length); into.append(mark);
      }
    });
  };
  const clock = (place) => {
    let lo = 0, hi = times.length;
    while (lo < hi) { const mid = (lo + hi) >> 1; times[mid][0] > place ? hi = mid : lo = mid + 1; }
    return times[lo] ? new Date(times[lo][1] * 1e3).toISOString().slice(11, 19) : "        ";
  };
  const draw = async () => {
    kept = view.scrollTop;
    const mine = ++turn, first = Math.max(0, Math.min(Math.floor(view.scrollTop * scale()), rows - room())), many = Math.min(room() + 8, rows - first);
    const got = [];
    for (let row = first; row < first + many;) {
      const line = lineOf(row), gap = gaps.find((g) => g[0] > line && g[1]), run = Math.min(first + many - row, gap ? gap[0] - line : many);
      got.push(...await read(line, run)); row += run;
      if (mine !== turn) return;
    }
    const bad = new Set(errors.map((e) => e[0])), part = document.createDocumentFragment();
    for (const [n, line, place] of got) {
      const row = document.createElement("span"), link = document.createElement("a"), i = phases.findIndex((p) => p.line === n);
      row.className = `ln${n >= from && n <= to ? " t" : ""}${bad.has(n) ? " e" : ""}`;
      link.href = "#L" + n; link.textContent = n; row.append(link);
      if (on.times) { const time = document.createElement("time"); time.textContent = clock(place); row.append(time); }
      if (i >= 0) {
        const knob = document.createElement("button");
        knob.dataset.fold = i; knob.setAttribute("aria-expanded", !folded.has(i)); knob.setAttribute("aria-label", phases[i].name);
        knob.textContent = folded.has(i) ? "▸" : "▾"; row.append(knob);
      }
      paint(line, row); part.append(row);
    }
    // Rows that are there already stay, with what is selected of their text.
    const had = new Map([...pane.children].map((row) => [row.textContent, row]));
    let place = pane.firstChild;
    const drop = () => { const gone = place; place = place.nextSibling; gone.remove(); };
    for (const row of [...part.children]) {
      const old = had.get(row.textContent);
      if (old && old.isEqualNode(row)) { while (place !== old) drop(); place = place.nextSibling; }
      else pane.insertBefore(row, place);
    }
    while (place) drop();
    const low = pane.offsetHeight - view.clientHeight, end = first + room() >= rows && low > 0;
    pane.style.transform = `translateY(${end ? view.scrollTop - low : scale() === 1 / ROW ? first * ROW : view.scrollTop}px)`;
    performance.mark("log-shown");
  };
  const go = (line, last) => {
    from = line; to = last || line;
    phases.forEach((p, i) => { if (p.line < line && (phases[i + 1]?.line || Infinity) > line) folded.delete(i); });
    arrange();
    view.scrollTop = Math.max(0, rowOf(line) - Math.floor(room() / 3)) / scale();
    return draw();
  };
  const jump = (step) => {
    const list = hits ? hits.lines : errors.map((e) => e[0]);
    if (!list.length) return;
    let at = step > 0 ? list.findIndex((n) => n > from) : list.findLastIndex((n) => n < from);
    if (at < 0) at = step > 0 ? 0 : list.length - 1;
    go(list[at]);
    say.textContent = `${hits ? "found" : "error"} ${at + 1} of ${num(hits ? hits.count : count)}, line ${num(list[at])}`;
  };
  const find = async () => {
    word = input.value; asked?.abort(); asked = new AbortController();
    if (!word) { hits = null; say.textContent = ""; return draw(); }
    const mine = asked;
    try {
      const r = await fetch(`${search}${encodeURIComponent(word)}${fold.checked ? "&case=1" : ""}`, { signal: mine.signal });
      if (!r.ok) throw new Error((await r.text()).slice(0, 200));
      hits = await r.json(); from = 0; jump(1); if (!hits.count) draw();
      say.textContent = `${some(hits.count, "line")} found${hits.complete ? "" : ` up to line ${num(hits.upto)}`}`;
    } catch (e) { if (!mine.signal.aborted) say.textContent = e.message; }
  };
  const update = async () => {
    const got = await (await fetch(`${index}${next}`)).json(), first = !next;
    const keep = (list) => list.filter((it) => (it[1] ?? 0) < next), changed = got.length !== length || got.finished !== finished;
    before = before.slice(0, got.first).concat(got.before); errors = keep(errors).concat(got.errors);
    times = times.filter((t) => t[0] < next).concat(got.times);
    ({ lines, next, finished, phases, cuts } = got); count = got.error_count; length = got.indexed;
    arrange();
    if (changed && !hits && !first) say.textContent = `${some(lines, "line")}, ${some(count, "error")}` + cuts.map((c) => `, ${num(c.bytes)} bytes left out at line ${c.line}`).join("") + (finished ? "" : ", growing");
    return changed;
  };
  const poll = async () => {
    if (!document.hidden && await update().catch(() => false)) { if (on.follow) view.scrollTop = high(); draw(); }
    if (!finished) setTimeout(poll, 2000);
  };
  const place = () => { const at = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash); if (at) go(Math.min(+at[1], lines), +at[2]); return at; };
  const act = {
    next: () => jump(1), prev: () => jump(-1),
    follow: () => { if (on.follow) view.scrollTop = high(); }, wrap: () => pane.classList.toggle("wrap", on.wrap), times: () => {},
    fold: () => { folded = new Set(folded.size ? [] : phases.keys()); arrange(); },
  };
  box.addEventListener("click", (e) => {
    const button = e.target.closest("[data-do]"), knob = e.target.closest("[data-fold]"), link = e.target.closest(".ln>a");
    if (button) {
      const what = button.dataset.do;
      if (what in on) button.setAttribute("aria-pressed", on[what] = !on[what]);
      act[what](); if (what !== "next" && what !== "prev") draw();
    } else if (knob) { const i = +knob.dataset.fold; folded.delete(i) || folded.add(i); arrange(); draw().then(() => $(`fold="${i}"`)?.focus()); }
    else if (link) {
      e.preventDefault();
      const n = +link.textContent;
      if (e.shiftKey && from) [from, to] = [Math.min(from, n), Math.max(from, n)]; else from = to = n;
      history.replaceState(null, "", `#L${from}${to > from ? "-L" + to : ""}`); draw();
    }
  });
  let late;
  input.form.addEventListener("submit", (e) => { e.preventDefault(); hits && word === input.value ? jump(1) : find(); });
  input.form.addEventListener("input", () => { clearTimeout(late); late = setTimeout(find, 200); });
  view.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  // Who moves the box within its page takes it back to its first line.
  new MutationObserver(() => { view.scrollTop = kept; }).observe(box.parentNode, { childList: true });
  addEventListener("resize", draw);
  addEventListener("hashchange", place);
  update().then(() => {
    $("tools").hidden = false; $("pages").hidden = true;
    view.classList.add("at"); view.prepend(tall); arrange();
    if (input.value) find();
    else if (!place()) {
      if (box.dataset.failed && errors.length) go(errors[0][0]); else { view.scrollTop = high(); draw(); }
    }
    if (!finished) { on.follow = !location.hash; $('do="follow"').setAttribute("aria-pressed", on.follow); setTimeout(poll, 1000); }
  }).catch(() => {});
}
