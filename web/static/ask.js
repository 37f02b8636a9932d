// The form that asks for builds: says what would come of it while one chooses, and lets alone what does not count.
// The form is whole without it: a button says the same.
(() => {
  "use strict";
  const form = document.querySelector("form[data-ask]");
  if (!form) return;
  const would = document.getElementById("would");
  let timer = 0, turn = 0;

  const count = () => {
    for (const field of form.querySelectorAll("[data-needs]")) {
      const said = new FormData(form);
      const counts = JSON.parse(field.dataset.needs).every(([name, value]) => {
        const chosen = said.getAll(name).filter(Boolean);
        return !chosen.length || chosen.includes(value);
      });
      for (const one of field.querySelectorAll("input, select, textarea")) one.disabled = !counts;
    }
  };
  const look = async () => {
    const said = new URLSearchParams(), mine = ++turn;
    for (const [name, text] of new FormData(form))
      if (text && name !== "email" && name !== "_mark" && name !== "_once") said.append(name, text);
    const at = form.dataset.ask + "?" + said;
    history.replaceState(null, "", at);
    let now = null;
    try {
      const answer = await fetch(at + "&part=would", { cache: "no-cache" });
      now = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("would");
    } catch { /* it is said below */ }
    if (mine === turn) would.replaceChildren(...(now ? now.childNodes : ["It is not known: these pages do not answer."]));
  };
  form.addEventListener("input", ({ target }) => {
    if (target.name === "email") return;
    if (target.name === "project") return location.assign(form.dataset.ask + "?project=" + encodeURIComponent(target.value));
    count();
    clearTimeout(timer);
    timer = setTimeout(look, 500);
  });
  count();
})();
