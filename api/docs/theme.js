// Light or dark: as the system says, or as chosen here before. It runs before the first paint.
(() => {
  "use strict";
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("etcdrest.theme"); } catch { /* storage may be off */ }
  const apply = () => {
    const dark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.classList.toggle("dark-mode", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
  };
  apply();
  system.addEventListener("change", apply);
  window.toggleTheme = () => {
    chosen = document.documentElement.classList.contains("dark-mode") ? "light" : "dark";
    try { localStorage.setItem("etcdrest.theme", chosen); } catch { /* storage may be off */ }
    apply();
  };
})();
