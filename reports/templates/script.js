
"use strict";
// The page is whole without this. It adds: filters, a case's own view by the hash, arrow keys in the grid, copying.
{
  const AXES = ["stage", "model", "dtype", "routing"];
  const grid = document.getElementById("grid");
  const form = document.getElementById("filter");
  const list = document.getElementById("list");
  const view = document.getElementById("view");
  const cases = [...grid.querySelectorAll("tbody a")].map((link) => {
    const id = link.hash.slice(1);
    const article = document.getElementById(id);
    return {id, link, article, cell: link.parentElement, item: article.parentElement, axes: id.split("/"), text: null};
  });
  const byId = new Map(cases.map((each) => [each.id, each]));
  const rows = [...grid.querySelectorAll("tbody tr")].map((row) =>
    [...row.querySelectorAll("a")].map((link) => byId.get(link.hash.slice(1))));
  const shown = () => cases.filter((each) => !each.item.hidden);

  // Filters
  function filter() {
    const wanted = Object.fromEntries(new FormData(form));
    const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const each of cases) {
      each.text ??= `${each.id} ${each.article.textContent}`.toLowerCase();
      const fits = AXES.every((axis, at) => !wanted[axis] || wanted[axis] === each.axes[at])
        && (!wanted.outcome || wanted.outcome === each.cell.dataset.outcome)
        && words.every((word) => each.text.includes(word));
      each.cell.classList.toggle("off", !fits);
      each.item.hidden = !fits;
      found += fits;
    }
    const active = Object.values(wanted).some(Boolean);
    form.elements.found.value = `${found} of ${cases.length} cases`;
    form.querySelector("[data-clear]").hidden = !active;
    for (const heading of document.querySelectorAll("h3.stage")) {
      let next = heading.nextElementSibling;
      let any = false;
      for (; next && next.matches(".case"); next = next.nextElementSibling) any ||= !next.hidden;
      heading.hidden = !any;
    }
    for (const none of document.querySelectorAll(".none")) {
      none.hidden = Boolean(none.parentElement.querySelector(".case:not([hidden])"));
    }
    if (list && active) list.open = true;
    rove(shown().includes(current) ? current : shown()[0]);
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());

  // The grid: one stop for Tab, arrow keys inside
  let current = cases[0];
  function rove(to) {
    current = to;
    for (const each of cases) each.link.tabIndex = each === to ? 0 : -1;
  }
  function step(row, column, down, right) {
    for (row += down, column += right; rows[row]?.[column]; row += down, column += right) {
      if (!rows[row][column].item.hidden) return rows[row][column];
    }
  }
  function target(key, far) {
    const row = rows.findIndex((each) => each.includes(current));
    const column = rows[row].indexOf(current);
    const open = (list) => list.filter((each) => !each.item.hidden);
    switch (key) {
      case "ArrowUp": return step(row, column, -1, 0);
      case "ArrowDown": return step(row, column, 1, 0);
      case "ArrowLeft": return step(row, column, 0, -1);
      case "ArrowRight": return step(row, column, 0, 1);
      case "Home": return open(far ? cases : rows[row])[0];
      case "End": return open(far ? cases : rows[row]).at(-1);
    }
  }
  grid.addEventListener("keydown", (event) => {
    if (event.altKey || !/^(Arrow|Home|End)/.test(event.key)) return;
    const to = target(event.key, event.ctrlKey || event.metaKey);
    event.preventDefault();
    if (to) { rove(to); to.link.focus(); }
  });
  grid.addEventListener("focusin", (event) => {
    const each = byId.get(event.target.hash?.slice(1));
    if (each) rove(each);
  });

  // A case's own view: the hash says which
  function show(each) {
    const copy = each.article.cloneNode(true);
    copy.removeAttribute("id");
    const title = view.querySelector("h2");
    title.replaceChildren(...each.item.querySelector("summary code").cloneNode(true).childNodes);
    title.append(each.item.querySelector(".outcome").cloneNode(true));
    view.querySelector(".content").replaceChildren(copy);
    view.dataset.id = each.id;
    if (!view.open) view.showModal();
    view.querySelector(".content").scrollTop = 0;
    title.focus();
  }
  function hashed() {
    try { return byId.get(decodeURIComponent(location.hash.slice(1))); } catch { return undefined; }
  }
  function follow() {
    if (hashed()) show(hashed());
    else if (view.open) view.close();
  }
  function go(by) {
    const among = shown();
    const at = among.findIndex((each) => each.id === view.dataset.id);
    const to = among[at < 0 ? 0 : at + by];
    if (!to) return;
    history.replaceState(null, "", `#${to.id}`);
    show(to);
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && byId.has(link.hash.slice(1)) && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      if (location.hash !== link.hash) history.pushState(null, "", link.hash);
      follow();
    }
    const button = event.target.closest("button");
    if (button && "clear" in button.dataset) { form.reset(); filter(); form.elements.words.focus(); }
    if (button?.dataset.go) go(Number(button.dataset.go));
    if (button && "close" in button.dataset || event.target === view) view.close();
    if (button?.matches(".copy")) copy(button);
  });
  view.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  view.addEventListener("close", () => {
    const each = byId.get(view.dataset.id);
    if (hashed()) history.replaceState(null, "", "#");
    rove(each);
    each.link.focus();
  });
  addEventListener("hashchange", follow);

  // Commands to copy
  async function copy(button) {
    const command = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {  // without a secure origin: the reader copies what is selected
      getSelection().selectAllChildren(command);
      button.textContent = "Selected: press Ctrl+C";
    }
  }
  for (const place of document.querySelectorAll(".replay")) {
    const button = document.createElement("button");
    Object.assign(button, {type: "button", className: "copy", textContent: "Copy"});
    place.append(button);
  }

  form.hidden = false;
  document.getElementById("keys").hidden = false;
  rove(current);
  follow();
}
