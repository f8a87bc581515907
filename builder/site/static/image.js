// The page of an image: copy buttons, the registry that a reader chooses, and a filter of packages.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Pages of files, or without a permission: the way of before.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "hidden";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };
  const textOf = (element) => {
    const parts = [...element.querySelectorAll("pre")].map((each) => each.textContent);
    return parts.length ? `${parts.join("\n\n")}\n` : element.textContent;
  };
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const done = await copied(textOf(byId(button.dataset.copy)));
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      button.classList.toggle("done", done);
      button.focus();
      setTimeout(() => {
        button.textContent = "Copy";
        button.classList.remove("done");
      }, 2000);
    });
  }

  // Which registry the snippets name: kept for the next page, where the browser lets us.
  const regions = window.dlcRegions || {};
  const account = byId("account");
  const region = byId("region");
  const official = byId("account-help").dataset.origin === "official";
  const EXAMPLE = "123456789012";
  const stored = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(`dlc-${name}`) || "";
      localStorage.setItem(`dlc-${name}`, value);
    } catch {
      // A page of a file may have none.
    }
    return "";
  };
  const wrong = () => {
    if (account.value && !/^\d{12}$/.test(account.value)) return "An AWS account has twelve digits.";
    if (!/^[a-z]{2,4}(-[a-z]+)+-\d{1,2}$/.test(region.value)) return "This is not a region.";
    if (!account.value && official && !Object.hasOwn(regions, region.value)) {
      return "This region has no official images: name your account.";
    }
    return "";
  };
  const fill = () => {
    const problem = wrong();
    byId("wrong").textContent = problem;
    if (problem) return;
    const known = Object.hasOwn(regions, region.value) ? regions[region.value] : null;
    const suffix = known ? known.dns_suffix : region.value.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
    const owner = account.value || (official && known ? known.account : EXAMPLE);
    const host = `${owner}.dkr.ecr.${region.value}.${suffix}`;
    const values = { host, region: region.value, uri: `${host}/${byId("name").value}` };
    for (const each of document.querySelectorAll("[data-fill]")) {
      each.textContent = values[each.dataset.fill];
    }
    stored("account", account.value);
    stored("region", region.value);
  };
  byId("regions").append(
    ...Object.keys(regions).map((name) => {
      const option = document.createElement("option");
      option.value = name;
      return option;
    }),
  );
  account.value = stored("account");
  region.value = stored("region") || region.value;
  byId("chooser").hidden = false;
  byId("chooser").addEventListener("submit", (event) => event.preventDefault());
  account.addEventListener("input", fill);
  region.addEventListener("input", fill);
  fill();

  // Snippets one at a time, as tabs; without a script they stand below each other.
  for (const tabs of document.querySelectorAll("[data-tabs]")) {
    const panels = [...tabs.children];
    const list = document.createElement("div");
    list.className = "tablist";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Ways of use");
    const buttons = panels.map((panel) => {
      const button = document.createElement("button");
      button.type = "button";
      button.id = `tab-${panel.id}`;
      button.textContent = panel.querySelector("h3").textContent;
      button.setAttribute("role", "tab");
      button.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", button.id);
      panel.querySelector("h3").hidden = true;
      list.append(button);
      return button;
    });
    const choose = (index, focus) => {
      buttons.forEach((button, place) => {
        button.setAttribute("aria-selected", String(place === index));
        button.tabIndex = place === index ? 0 : -1;
        panels[place].hidden = place !== index;
      });
      if (focus) buttons[index].focus();
    };
    buttons.forEach((button, index) => {
      button.addEventListener("click", () => choose(index, false));
      button.addEventListener("keydown", (event) => {
        const last = buttons.length - 1;
        const to = {
          ArrowRight: index === last ? 0 : index + 1,
          ArrowLeft: index === 0 ? last : index - 1,
          Home: 0,
          End: last,
        }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        choose(to, true);
      });
    });
    tabs.before(list);
    choose(0, false);
  }

  // Packages by a part of their name or version.
  const search = byId("package-q");
  byId("package-search").hidden = false;
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase().split(/[\s=]+/).filter(Boolean);
    for (const group of document.querySelectorAll(".packages")) {
      let shown = 0;
      for (const item of group.querySelectorAll("li")) {
        const text = item.textContent.toLowerCase();
        item.hidden = !wanted.every((each) => text.includes(each));
        shown += item.hidden ? 0 : 1;
      }
      group.hidden = shown === 0;
    }
  });

  // On paper nothing can be opened.
  window.addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });

  // An end of life that is over is marked: a page is read long after it was written.
  for (const each of document.querySelectorAll("[data-end]")) {
    if (each.dateTime < new Date().toISOString().slice(0, 10)) each.classList.add("over");
  }
})();
