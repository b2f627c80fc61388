/* The page: zoom, pan, open and close layers, search, and the panel beside a node. What is drawn comes from picture.js. */
"use strict";
(() => {
  const { picture, settings } = JSON.parse(document.getElementById("picture").textContent);
  const { draw, count, escape } = pellucidPicture;
  const element = id => document.getElementById(id);
  const canvas = element("canvas"), panel = element("panel"), search = element("search"), found = element("found");
  const embedded = window.parent !== window;
  const boxes = new Map(picture.boxes.map(b => [b.path, b]));
  const holders = new Set(picture.boxes.map(b => b.parent).filter(Boolean));
  const FEW = 40;
  let open = new Set(), selected = null, view = { x: 0, y: 0, k: 1 }, size = { w: 0, h: 0 };

  const isOpenUpTo = box => !box.parent || (open.has(box.parent) && isOpenUpTo(boxes.get(box.parent)));

  /* As many levels as leave the first sight readable. */
  function openAtFirst() {
    for (let depth = 0; ; depth++) {
      const next = picture.boxes.filter(b => b.depth === depth && holders.has(b.path));
      if (!next.length) return;
      const before = new Set(open);
      next.forEach(b => open.add(b.path));
      if (picture.boxes.filter(isOpenUpTo).length > FEW) {
        open = before;
        return;
      }
    }
  }

  // ---- Drawing ----

  function redraw() {
    const drawn = draw(picture, { ...settings, open: [...open] }, selected);
    size = { w: drawn.w, h: drawn.h };
    canvas.innerHTML = `<g id="view">${drawn.svg}</g>`;
    light();
    move();
  }

  const node = path => [...canvas.querySelectorAll("[data-path]")].find(e => e.dataset.path === path);

  function move() {
    element("view").setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
  }

  function light() {
    for (const wire of canvas.querySelectorAll(".wire"))
      wire.classList.toggle("lit", selected !== null && (wire.dataset.source === selected || wire.dataset.target === selected));
    for (const e of canvas.querySelectorAll("[data-path]")) e.classList.toggle("selected", e.dataset.path === selected);
  }

  function fit(whole) {
    const area = canvas.getBoundingClientRect();
    const widthwise = area.width / size.w, heightwise = area.height / size.h;
    const k = Math.min(1.25, Math.max(0.05, whole ? Math.min(widthwise, heightwise) : Math.max(Math.min(widthwise, heightwise), Math.min(widthwise, 0.9))));
    view = { k, x: Math.max((area.width - size.w * k) / 2, size.w * k > area.width && !whole ? 0 : -Infinity), y: Math.max(0, (area.height - size.h * k) / 2) };
    move();
  }

  function zoom(factor, x, y) {
    const area = canvas.getBoundingClientRect();
    const [cx, cy] = x === undefined ? [area.width / 2, area.height / 2] : [x - area.left, y - area.top];
    const k = Math.min(4, Math.max(0.05, view.k * factor)), f = k / view.k;
    view = { k, x: cx - (cx - view.x) * f, y: cy - (cy - view.y) * f };
    move();
  }

  // ---- Opening and selecting ----

  function toggle(path) {
    if (!holders.has(path)) return;
    const before = node(path)?.getBoundingClientRect();
    if (open.has(path)) open.delete(path); else open.add(path);
    redraw();
    const after = node(path)?.getBoundingClientRect();
    if (before && after) {  // the layer stays under the pointer
      view.x += before.left - after.left;
      view.y += before.top - after.top;
      move();
    }
    if (selected === path) tell(path);
    node(path)?.focus({ preventScroll: true });
  }

  function select(path) {
    selected = path;
    light();
    tell(path);
  }

  function reveal(path) {
    for (let box = boxes.get(path); box && box.parent; box = boxes.get(box.parent)) open.add(box.parent);
    redraw();
    select(path);
    const area = canvas.getBoundingClientRect(), at = node(path)?.getBoundingClientRect();
    if (!at) return;
    view.x += area.left + area.width / 2 - (at.left + at.width / 2);
    view.y += area.top + area.height / 2 - (at.top + Math.min(at.height, area.height - 20) / 2);
    move();
  }

  // ---- The panel ----

  const rows = pairs => "<table>" + pairs.map(([name, value]) => `<tr><td>${name}</td><td>${value}</td></tr>`).join("") + "</table>";
  const values = list => list.map(([shape, dtype]) => escape(`${shape} ${dtype}`)).join("<br>") || "none";
  const link = path => `<a tabindex="0" role="link" data-to="${escape(path)}">${escape(path)}</a>`;

  function tell(path) {
    const box = boxes.get(path);
    panel.hidden = !box;
    if (!box) return;
    const whole = number => Math.round(number).toLocaleString("en");
    const facts = [];
    if (box.role !== "input") facts.push(["Takes", values(box.inputs)]);
    if (box.role !== "output") facts.push(["Gives", values(box.outputs)]);
    if (box.role === "layer" || box.parameters) facts.push(["Parameters", whole(box.parameters) + (box.parameters && box.trainable === false ? ", not trainable" : "") + (box.shared ? ", shared with an earlier call" : "")]);
    if (box.activation) facts.push(["Activation", escape(box.activation)]);
    if (box.role === "layer" || box.role === "operation") facts.push(["FLOPs, a row", `${whole(box.flops)}${box.flops >= 1e6 ? ` (${count(box.flops)})` : ""}`], ["Output, a row", `${whole(box.bytes)} bytes`]);
    const from = picture.arrows.filter(a => a.target === path).map(a => a.source), to = picture.arrows.filter(a => a.source === path && boxes.get(a.target).depth <= box.depth).map(a => a.target);
    const parts = [`<button class="close" aria-label="Close">×</button><h2>${escape(box.name)}</h2><p class="about">${escape(box.kind)}${box.path === box.name ? "" : " · " + escape(box.path)}</p>`];
    if (holders.has(path)) parts.push(`<button class="opener">${open.has(path) ? "Collapse" : "Expand"}</button>`);
    parts.push(rows(facts));
    if (box.place) parts.push(`<h3>Source</h3><div title="${escape(box.file)}">${escape(box.place)}</div><pre>${escape(box.line) || "(the file is not there any more)"}</pre>`);
    if (box.weights.length) parts.push(`<h3>Weights</h3><table>${box.weights.map(w => `<tr><td class="path">${escape(w.path)}</td><td>${escape(w.shape)} ${escape(w.dtype)}${w.trainable ? "" : ", not trainable"}</td></tr>`).join("")}</table>`);
    if (from.length) parts.push(`<h3>From</h3><ul>${from.map(p => `<li>${link(p)}</li>`).join("")}</ul>`);
    if (to.length) parts.push(`<h3>To</h3><ul>${to.map(p => `<li>${link(p)}</li>`).join("")}</ul>`);
    panel.innerHTML = parts.join("");
    panel.scrollTop = 0;
  }

  panel.addEventListener("click", event => {
    if (event.target.closest(".close")) select(null);
    else if (event.target.closest(".opener")) toggle(selected);
    else if (event.target.dataset.to !== undefined) reveal(event.target.dataset.to);
  });
  panel.addEventListener("keydown", event => {
    if (event.key === "Enter" && event.target.dataset.to !== undefined) reveal(event.target.dataset.to);
  });

  // ---- Pointer and keys ----

  const pointers = new Map();
  let travelled = 0;
  canvas.addEventListener("pointerdown", event => {
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 1) travelled = 0;
  });
  canvas.addEventListener("pointermove", event => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    travelled += Math.abs(dx) + Math.abs(dy);
    if (travelled > 4 && !canvas.hasPointerCapture(event.pointerId)) {
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("panning");
    }
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      const distance = (x, y) => Math.hypot(x - other[0], y - other[1]);
      zoom(distance(event.clientX, event.clientY) / Math.max(1, distance(last[0], last[1])), other[0], other[1]);
    } else if (travelled > 4) {
      view.x += dx;
      view.y += dy;
      move();
    }
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => {
    pointers.delete(event.pointerId);
    canvas.classList.remove("panning");
  });
  canvas.addEventListener("click", event => {
    if (travelled > 4) return;
    const hit = event.target.closest("[data-path]");
    if (hit && event.target.closest(".sign")) toggle(hit.dataset.path);
    else select(hit ? hit.dataset.path : null);
  });
  canvas.addEventListener("dblclick", event => {
    const hit = event.target.closest("[data-path]");
    if (hit) toggle(hit.dataset.path);
  });
  canvas.addEventListener("keydown", event => {
    const hit = event.target.closest("[data-path]");
    if (!hit || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    if (event.key === "Enter") select(hit.dataset.path); else toggle(hit.dataset.path);
  });
  canvas.addEventListener("wheel", event => {
    if (embedded && !event.ctrlKey && !event.metaKey) return;  // in a notebook the wheel moves the notebook
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
  }, { passive: false });

  // ---- The bar ----

  const actions = {
    "zoom-in": () => zoom(1.25), "zoom-out": () => zoom(0.8), fit: () => fit(true),
    expand: () => { open = new Set(holders); redraw(); fit(false); },
    collapse: () => { open = new Set(); redraw(); fit(false); },
    theme: () => { document.documentElement.dataset.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark"; },
  };
  for (const [id, action] of Object.entries(actions)) element(id).addEventListener("click", action);
  if (!holders.size) element("expand").hidden = element("collapse").hidden = true;

  search.addEventListener("input", () => {
    const word = search.value.trim().toLowerCase();
    const hits = word ? picture.boxes.filter(b => `${b.path} ${b.kind} ${b.line}`.toLowerCase().includes(word)).slice(0, 40) : [];
    found.innerHTML = hits.map(b => `<li><button data-to="${escape(b.path)}">${escape(b.path)} <span class="kind">${escape(b.kind)}</span></button></li>`).join("");
  });
  search.addEventListener("keydown", event => {
    if (event.key === "Enter") found.querySelector("button")?.click();
    if (event.key === "Escape") found.innerHTML = "";
  });
  found.addEventListener("click", event => {
    const hit = event.target.closest("[data-to]");
    if (!hit) return;
    found.innerHTML = "";
    reveal(hit.dataset.to);
  });

  // ---- Start: a link such as graph.html#open=block,block/attention&select=block/attention/query says what is seen ----

  const said = new Map(location.hash.slice(1).split("&").map(part => part.split("=")));
  const dark = said.has("theme") ? said.get("theme") === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  if (settings.open.length || !settings.auto) open = new Set(settings.open);
  else openAtFirst();
  if (said.has("open")) open = new Set(said.get("open") === "*" ? holders : (said.get("open") || "").split(",").map(decodeURIComponent).filter(Boolean));
  redraw();
  const wanted = decodeURIComponent(said.get("select") || "");
  let touched = false;
  for (const name of ["pointerdown", "click", "keydown", "wheel"]) addEventListener(name, () => { touched = true; }, { capture: true, passive: true });
  new ResizeObserver(() => {  // a frame has no size yet when its script runs
    if (touched || !canvas.clientWidth) return;
    if (boxes.has(wanted) && selected !== wanted) reveal(wanted);
    else if (!boxes.has(wanted)) fit(false);
  }).observe(canvas);
})();
