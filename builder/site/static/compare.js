// Two images side by side: what differs in their packages, from the list of who has which.
"use strict";
(() => {
  const { images, packages } = window.dlcPackages;
  const byId = (id) => document.getElementById(id);
  const sides = [byId("a"), byId("b")];
  const rows = byId("rows");

  // The packages of an image by name; more than one version where it has several.
  const packagesOf = (place) => {
    const found = new Map();
    for (const [name, versions] of Object.entries(packages)) {
      const mine = Object.keys(versions).filter((version) => versions[version].includes(place));
      if (mine.length) found.set(name, mine.sort().join(" "));
    }
    return found;
  };
  const cell = (text) => {
    const found = document.createElement("td");
    found.textContent = text;
    return found;
  };

  const show = () => {
    const places = sides.map((side) => images.indexOf(side.value));
    const chosen = places.every((place) => place >= 0);
    byId("result").hidden = !chosen;
    rows.replaceChildren();
    byId("summary").textContent = chosen ? "" : "Choose two images.";
    if (!chosen) return;
    const [before, after] = places.map(packagesOf);
    const names = [...new Set([...before.keys(), ...after.keys()])].sort();
    const counts = { added: 0, removed: 0, changed: 0 };
    let same = 0;
    for (const name of names) {
      const [was, now] = [before.get(name), after.get(name)];
      if (was === now) {
        same += 1;
        continue;
      }
      const what = was === undefined ? "added" : now === undefined ? "removed" : "changed";
      counts[what] += 1;
      const row = document.createElement("tr");
      row.className = what;
      row.append(cell(name), cell(what), cell(was ?? "–"), cell(now ?? "–"));
      rows.append(row);
    }
    const told = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
    byId("summary").textContent = `${told.join(", ")}, ${same} the same.`;
    byId("result").hidden = rows.children.length === 0;
  };

  const read = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const side of sides) {
      side.value = state.get(side.id) || "";
      if (side.selectedIndex < 0) side.value = "";
    }
    show();
  };
  const changed = () => {
    const state = new URLSearchParams();
    for (const side of sides) if (side.value) state.set(side.id, side.value);
    history.replaceState(null, "", `#${state}`);
    show();
  };
  for (const side of sides) side.addEventListener("change", changed);
  byId("swap").addEventListener("click", () => {
    const [a, b] = sides.map((side) => side.value);
    [sides[0].value, sides[1].value] = [b, a];
    changed();
  });
  byId("sides").addEventListener("submit", (event) => event.preventDefault());
  byId("sides").hidden = false;
  window.addEventListener("hashchange", read);
  read();
})();
