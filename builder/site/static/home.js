// The home page: search as you type and filters, both in the address.
"use strict";
(() => {
  const rows = [...document.querySelectorAll("#images tbody tr")];
  const packages = window.dlcPackages ? window.dlcPackages.packages : {};
  const box = document.getElementById("q");
  const selects = [...document.querySelectorAll("[data-filter]")];
  const count = document.getElementById("count");
  const none = document.getElementById("none");
  const table = document.getElementById("images");

  const VERSION = /^\d+(\.[0-9a-z+!-]+)*\.?$/i;
  // "1.1" is 1.1 and 1.1.2, not 1.10: a number is not the beginning of another.
  const versionBegins = (version, wanted) =>
    version.startsWith(wanted) && (wanted.endsWith(".") || !/^\d/.test(version.slice(wanted.length)));
  const wordBegins = (word, wanted) =>
    VERSION.test(wanted) ? versionBegins(word, wanted) : word.startsWith(wanted);

  const words = rows.map((row) => {
    const text = [row.dataset.name, row.textContent].join(" ").toLowerCase();
    const found = new Set(text.split(/[\s:,]+/));
    for (const part of row.dataset.name.split(/[:-]/)) found.add(part);
    return [...found];
  });

  // The images that have a package, by their places, each with the version.
  const having = (name, version) => {
    const found = new Map();
    for (const [each, places] of Object.entries(packages[name] || {})) {
      if (!version || versionBegins(each, version)) {
        for (const place of places) found.set(place, `${name} ${each}`);
      }
    }
    return found;
  };

  // Each condition answers for a row: false, true, or what to show of it.
  const conditions = (query) => {
    const tokens = query.toLowerCase().replace(/([=<>~!]=?)+/g, " ").split(/[\s,]+/).filter(Boolean);
    const found = [];
    for (let at = 0; at < tokens.length; at += 1) {
      const token = tokens[at];
      const name = token.replace(/[-_.]+/g, "-");
      if (Object.hasOwn(packages, name)) {
        const next = tokens[at + 1];
        const version = next !== undefined && VERSION.test(next) ? next : "";
        if (version) at += 1;
        const places = having(name, version);
        const plain = version ? [token, version] : [token];
        found.push((place) => {
          if (places.has(place)) return places.get(place);
          return !version && words[place].some((word) => wordBegins(word, plain[0]));
        });
      } else {
        found.push((place) => words[place].some((word) => wordBegins(word, token)));
      }
    }
    return found;
  };

  const show = () => {
    const asked = conditions(box.value);
    const wanted = selects.filter((each) => each.value);
    let shown = 0;
    rows.forEach((row, place) => {
      const kept = wanted.every((each) => row.dataset[each.dataset.filter] === each.value);
      const answers = kept ? asked.map((condition) => condition(place)) : [false];
      const fits = answers.every(Boolean);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
      const told = answers.filter((each) => typeof each === "string").join(", ");
      let note = row.querySelector(".found");
      if (!note && fits && told) {
        note = document.createElement("span");
        note.className = "found";
        row.cells[0].append(note);
      }
      if (note) note.textContent = fits ? told : "";
    });
    count.textContent = shown === rows.length ? `${shown} images` : `${shown} of ${rows.length} images`;
    none.hidden = shown > 0;
    table.hidden = shown === 0;
  };

  const write = () => {
    const state = new URLSearchParams();
    if (box.value.trim()) state.set("q", box.value.trim());
    for (const each of selects) if (each.value) state.set(each.dataset.filter, each.value);
    const text = state.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  };

  const read = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    box.value = state.get("q") || "";
    for (const each of selects) {
      each.value = state.get(each.dataset.filter) || "";
      if (each.selectedIndex < 0) each.value = "";
    }
    show();
  };

  const changed = () => {
    write();
    show();
  };
  const clear = () => {
    box.value = "";
    for (const each of selects) each.value = "";
    changed();
    box.focus();
  };

  const finder = document.getElementById("finder");
  finder.hidden = false;
  box.addEventListener("input", changed);
  for (const each of selects) each.addEventListener("change", changed);
  document.getElementById("clear").addEventListener("click", clear);
  document.getElementById("again").addEventListener("click", clear);
  window.addEventListener("hashchange", read);
  document.addEventListener("keydown", (event) => {
    const typing = /^(input|select|textarea)$/i.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      box.focus();
    }
  });
  read();
  // Whoever was sent a choice sees what it chose.
  if (location.hash.includes("=")) finder.scrollIntoView();
})();
