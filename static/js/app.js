// Behaviour shared by every page. Pages read and submit without it.
(() => {
  const d = document;
  const $ = (selector, root = d) => root.querySelector(selector);
  const $$ = (selector, root = d) => [...root.querySelectorAll(selector)];
  const say = text => { const region = $("#live-region"); region.textContent = ""; requestAnimationFrame(() => { region.textContent = text; }); };
  window.stackweb = { ...window.stackweb, say };

  // theme, menu, copy, dialogs
  const isDark = () => d.documentElement.dataset.theme ? d.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const switchTheme = () => {
    const theme = isDark() ? "light" : "dark";
    d.documentElement.dataset.theme = theme;
    try { localStorage.setItem("theme", theme); } catch {}
    d.dispatchEvent(new Event("themechange"));
  };
  const openMenu = open => {
    const side = $("#side"), button = $("[data-menu]");
    if (!side || side.classList.contains("open") === open) return;
    side.classList.toggle("open", open); button.setAttribute("aria-expanded", String(open));
    // shown by a transition, so it can take focus only after a frame
    if (open) setTimeout(() => $("a", side).focus(), 50); else if (side.contains(d.activeElement)) button.focus();
  };
  const tick = (button, from, to) => { const use = $("use", button); use?.setAttribute("href", use.getAttribute("href").replace(from, to)); };
  const copy = button => {
    const source = button.closest(".url")?.querySelector("span") || button.closest(".secret")?.querySelector("code")
      || $("[data-pane]:not([hidden])", button.closest("[data-panes]") || d.createElement("i")) || $(".code", button.closest(".panel") || d);
    const lines = $$(".ln", source);
    const text = lines.length ? lines.map(line => line.textContent).join("\n") : source.textContent.trim();
    const done = () => { say("Copied"); tick(button, "#copy", "#check"); setTimeout(() => tick(button, "#check", "#copy"), 1500); };
    // Plain http beyond loopback has no clipboard API; selecting and copying still works there.
    if (navigator.clipboard) return void navigator.clipboard.writeText(text).then(done, () => say("Copying was refused by the browser"));
    const box = d.createElement("textarea");
    box.value = text; box.className = "sr"; (button.closest("dialog") || d.body).append(box); box.select();
    if (d.execCommand("copy")) done();
    box.remove(); button.focus();
  };
  const ticks = () => $$("input[form=bulk]:not(:disabled)");
  const actions = {
    "[data-theme-toggle]": switchTheme,
    "[data-cmdk]": () => openPalette(),
    "[data-menu]": () => openMenu(!$("#side").classList.contains("open")),
    "[data-copy]": copy,
    "[data-open-dialog]": button => d.getElementById(button.dataset.openDialog)?.showModal(),
    "[data-close]": button => button.closest("dialog")?.close(),
    "[data-dismiss]": button => button.closest("[data-toast]").remove(),
  };
  d.addEventListener("click", event => {
    for (const [selector, act] of Object.entries(actions)) {
      const target = event.target.closest(selector);
      if (target) return act(target);
    }
    if (event.target.matches("dialog")) event.target.close();
    if (!event.target.closest("#side")) openMenu(false);
  });
  d.addEventListener("change", event => {
    const panes = event.target.matches(".seg input") && event.target.closest("[data-panes]");
    if (panes) $$("[data-pane]", panes).forEach(pane => { pane.hidden = pane.dataset.pane !== event.target.value; });
    if (event.target.matches("[data-autosubmit]")) event.target.form.requestSubmit();
    if (event.target.matches("[data-tick-all]")) ticks().forEach(tick => { tick.checked = event.target.checked; });
    if (event.target.matches("[data-tick-all], [form=bulk]")) {
      const ticked = ticks().filter(tick => tick.checked).length, said = $("[data-ticked]");
      said.textContent = `${ticked} ${said.dataset.ticked}${ticked === 1 ? "" : "s"} ticked`;
    }
  });
  // One press, one submit: a second press while the first is on its way does nothing.
  d.addEventListener("submit", event => {
    if (event.target.dataset.sent) return event.preventDefault();
    if (event.target.method === "post" && !event.target.hasAttribute("hx-post") && !event.target.hasAttribute("data-chat")) event.target.dataset.sent = "1";
  });
  addEventListener("pageshow", () => $$("form[data-sent]").forEach(form => delete form.dataset.sent));

  // toasts go after 8 s, unless somebody is about to use them
  const fade = toast => setTimeout(() => toast.matches(":hover, :focus-within") ? fade(toast) : toast.remove(), 8000);
  $$("[data-toast]").forEach(toast => { say($("span", toast).textContent); fade(toast); });

  // a box that scrolls and holds nothing to focus gets a tab stop
  const markScrollers = () => $$(".tbl-w").forEach(box => {
    const scrolls = box.scrollWidth > box.clientWidth + 1 && !$("a,button,input,select", box);
    if (scrolls) { box.tabIndex = 0; box.setAttribute("role", "group"); box.setAttribute("aria-label", "Table, scrolls sideways"); }
  });
  markScrollers(); addEventListener("resize", markScrollers);

  // polling: say when the server cannot be reached, keep the values
  const live = ok => { const mark = $("#live-state"); if (mark) { mark.classList.toggle("stale", !ok); mark.textContent = ok ? "Live" : "Not reachable"; } };
  d.addEventListener("htmx:sendError", () => live(false));
  d.addEventListener("htmx:responseError", event => { if (event.detail.xhr.status >= 500) live(false); });
  // A page nobody looks at does not poll. (A filter in hx-trigger would need eval, which the CSP forbids.)
  // Nor does a list while rows of it are ticked: a morph would untick them, or move them from under the pointer.
  d.addEventListener("htmx:beforeRequest", event => {
    if ((d.hidden || $("[form=bulk]:checked", event.target)) && event.target.getAttribute("hx-trigger")?.startsWith("every")) event.preventDefault();
  });
  d.addEventListener("htmx:afterOnLoad", () => { live(true); markScrollers(); });
  d.addEventListener("htmx:configRequest", event => { const token = $("[name=csrfmiddlewaretoken]"); if (token) event.detail.headers["X-CSRFToken"] = token.value; });

  // command palette
  const palette = $("#cmdk");
  let chosen = 0, asked = 0;
  const options = () => $$("[role=option]", palette);
  const mark = index => {
    const all = options();
    chosen = Math.max(0, Math.min(index, all.length - 1));
    all.forEach((option, i) => { option.id = `cmdk-${i}`; option.setAttribute("aria-selected", String(i === chosen)); });
    const current = all[chosen];
    if (current) { $("input", palette).setAttribute("aria-activedescendant", current.id); current.scrollIntoView({ block: "nearest" }); }
  };
  const find = async () => {
    const mine = ++asked;
    const response = await fetch(`${palette.dataset.searchUrl}?q=${encodeURIComponent($("input", palette).value)}`, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (!response?.ok || mine !== asked) return;
    $("#cmdk-list").innerHTML = await response.text();
    mark(0);
  };
  function openPalette() { if (!palette) return; $("input", palette).value = ""; palette.showModal(); $("input", palette).focus(); find(); }
  palette?.addEventListener("input", find);
  palette?.addEventListener("keydown", event => {
    if (event.key === "ArrowDown") { event.preventDefault(); mark(chosen + 1); }
    if (event.key === "ArrowUp") { event.preventDefault(); mark(chosen - 1); }
    if (event.key === "Enter" && event.target.matches("[role=combobox]")) { event.preventDefault(); $("a", options()[chosen] || palette.lastElementChild)?.click(); }
  });

  // keys: "/" search or palette, Ctrl or Cmd with K palette, "g" then a letter goes, 1 to 4 vote, j and k move
  const places = Object.fromEntries($$(".nav a[data-key]").map(link => [link.dataset.key, link]));
  const keysAreOff = () => { try { return localStorage.getItem("keys") === "off"; } catch { return false; } };
  $$("[data-keys-switch]").forEach(box => {
    box.checked = !keysAreOff();
    box.addEventListener("change", () => { try { localStorage.setItem("keys", box.checked ? "on" : "off"); } catch {} });
  });
  let pressedG = 0;
  d.addEventListener("keydown", event => {
    if ((event.metaKey || event.ctrlKey) && event.key === "k") { event.preventDefault(); return openPalette(); }
    if (event.key === "Escape") openMenu(false);
    if (keysAreOff() || event.target.matches("input,textarea,select") || event.metaKey || event.ctrlKey || event.altKey || $("dialog[open]")) return;
    if (event.key === "/") { event.preventDefault(); const box = $("[data-search]"); return box ? box.focus() : openPalette(); }
    if (event.key === "g") { pressedG = Date.now(); return; }
    if (/^[1-4]$/.test(event.key)) return $$(".vote .btn")[event.key - 1]?.click();
    if (Date.now() - pressedG < 900 && places[event.key]) return places[event.key].click();
    pressedG = 0;
    const picks = $$(".pick a"), step = { j: 1, k: -1 }[event.key];
    if (step && picks.length) {
      const here = picks.findIndex(link => link.hasAttribute("aria-current"));
      picks[Math.max(0, Math.min(picks.length - 1, here + step))].click();
    }
  });
})();
