// Keeps the page current: the server sends the elements that changed, whole, and they
// are worked into the page without touching what stayed, so that focus, selection and
// what was opened are left alone.
"use strict";
(() => {
  const body = document.body, link = document.getElementById("link");
  const longest = 15000, silence = 15000;
  let state = body.dataset.state, as = link.querySelector("time").dateTime;
  let wait = 500, source, watchdog, skew = Date.parse(as) - Date.now();

  const clock = t => new Date(t).toISOString().slice(11, 19) + " UTC";

  function span(seconds) {
    const s = Math.round(Math.abs(seconds));
    const [n, unit] = s < 60 ? [s, "s"] : s < 3600 ? [Math.floor(s / 60), "min"] : s < 172800 ? [Math.floor(s / 3600), "h"] : [Math.floor(s / 86400), "days"];
    return seconds < 0 && s > 0 ? "in " + n + " " + unit : n + " " + unit + " ago";
  }

  function tell(within) {
    for (const t of within.querySelectorAll("time[data-ago]")) {
      const text = span((Date.now() + skew - Date.parse(t.dateTime)) / 1000);
      if (t.textContent !== text) t.textContent = text;
    }
  }

  // say changes the status only when its words change: it is read out.
  function say(text, away) {
    if (link.textContent !== text) link.textContent = text;
    body.classList.toggle("lost", away);
  }

  function adapt(old, now) {
    if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || old.id !== now.id) return old.replaceWith(now);
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== now.data) old.data = now.data;
      return;
    }
    if (old.isEqualNode(now)) return;
    for (const { name } of [...old.attributes]) if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    for (const { name, value } of [...now.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const before = [...old.childNodes], after = [...now.childNodes];
    after.forEach((n, i) => before[i] ? adapt(before[i], n) : old.append(n));
    before.slice(after.length).forEach(n => n.remove());
  }

  function part(html) {
    const t = document.createElement("template");
    t.innerHTML = html;
    const now = t.content.firstElementChild, old = now && document.getElementById(now.id);
    if (!old) return;
    tell(now);
    adapt(old, now);
  }

  function alive() {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, silence);
  }

  // again waits longer each time, and not all readers wait the same.
  function again() {
    clearTimeout(watchdog);
    source.close();
    say("Connection lost, shown is the state of " + clock(as) + ". It is tried again.", true);
    setTimeout(listen, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, longest);
  }

  function listen() {
    const address = new URL(body.dataset.events, location.href);
    address.searchParams.set("seen", state);
    source = new EventSource(address);
    source.addEventListener("part", e => { alive(); part(e.data); });
    source.addEventListener("beat", e => {
      alive();
      [state, as, wait] = [e.lastEventId, e.data, 500];
      skew = Date.parse(as) - Date.now(); // the server's clock counts
      say("Live", false);
    });
    source.addEventListener("trouble", e => { alive(); say("What is shown is of " + clock(as) + ": " + e.data, true); });
    source.addEventListener("gone", () => { clearTimeout(watchdog); source.close(); say("It is not known here any more; shown is the state of " + clock(as), true); });
    source.onerror = again;
    alive();
  }

  tell(document);
  setInterval(() => tell(document), 1000);
  listen();
})();
