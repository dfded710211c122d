// Runs before the first paint, so that a chosen theme never flashes.
(d => {
  let theme = new URLSearchParams(location.search).get("theme");
  try { theme ||= localStorage.getItem("theme"); } catch {}
  if (theme === "light" || theme === "dark") d.dataset.theme = theme;
})(document.documentElement);
