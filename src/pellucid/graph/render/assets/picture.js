/* Draws a picture (see description.py) as SVG. It runs in the browser and, for files, in an engine inside Python.

   dagre lays out one level at a time: an open layer is laid out first, and is then one large box for the level around it.
   Values enter and leave an open layer through pins on its border. dagre always works from the top to the bottom; here
   `v` is the position across and `u` the position along the flow, and other directions are made by exchanging or mirroring them. */
"use strict";
var pellucidPicture = (() => {
  const LINE = 15, PAD = 12, HEADER = 26, PIN = 3, MARGIN = 16, LONGEST = 34;
  const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  const escape = text => String(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd").replace(/[&<>"']/g, c => ESCAPES[c]);

  /* Widths are estimated, so that a picture is the same wherever it is drawn: a little more than common sans-serif fonts take. */
  function textWidth(text, size, bold) {
    let ems = 0;
    for (const c of text) {
      if (c.codePointAt(0) >= 0x2e80) ems += 1.05;
      else if ("iljtfr.,:;|!'()[] /".includes(c)) ems += 0.38;
      else if ("mwMW@%—→".includes(c)) ems += 0.92;
      else if (c >= "A" && c <= "Z") ems += 0.7;
      else ems += 0.6;
    }
    return ems * size * (bold ? 1.08 : 1);
  }

  function shortened(text) {
    const letters = [...text];
    return letters.length <= LONGEST ? text : letters.slice(0, LONGEST / 2).join("") + "…" + letters.slice(1 - LONGEST / 2).join("");
  }

  function count(number) {
    for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"]])
      if (number >= size) return (number / size).toPrecision(3) + unit;
    return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, ",");
  }

  function shapesOf(values, options) {
    return [...new Set(values.map(([shape, dtype]) => options.dtypes ? `${shape} ${dtype}` : shape))].join(", ");
  }

  /* The lines of text in a box: [class, text] each. */
  function linesOf(box, options) {
    const name = options.names ? box.name : box.kind;
    const lines = [["name", shortened(name)]];
    if (box.role === "operation") return lines;
    if (box.role !== "layer") return [["name", shortened(box.name)], ["kind", shapesOf([...box.inputs, ...box.outputs], { dtypes: true })]];
    const about = options.names ? [shortened(box.kind)] : [];
    if (box.parameters) about.push(box.shared ? "shared" : count(box.parameters) + " params");
    if (about.length) lines.push(["kind", about.join(" · ")]);
    if (options.activations && box.activation) lines.push(["kind", box.activation]);
    if (options.trainable && box.weights.length) lines.push(["kind", box.trainable ? "trainable" : "not trainable"]);
    return lines;
  }

  const sizeOf = style => style === "name" ? 13 : 11;
  function sizeOfLines(lines) {
    const width = Math.max(...lines.map(([style, text]) => textWidth(text, sizeOf(style), style === "name")));
    return { w: Math.ceil(Math.max(width + 2 * PAD, 48)), h: lines.length * LINE + 13 };
  }

  function prepare(picture) {
    const boxes = new Map(picture.boxes.map(b => [b.path, b]));
    const children = new Map();
    for (const box of picture.boxes) {
      if (!children.has(box.parent)) children.set(box.parent, []);
      children.get(box.parent).push(box);
    }
    const into = new Map();
    for (const arrow of picture.arrows) {
      const parent = boxes.get(arrow.target).parent;
      if (!into.has(parent)) into.set(parent, []);
      into.get(parent).push(arrow);
    }
    return { boxes, children, into };
  }

  /* One level: {w, h, items, wires, entries (pins by source), exit}, in its own coordinates. */
  function level(path, known, options) {
    const across = options.rankdir === "LR" || options.rankdir === "RL";
    const flip = (w, h) => across ? { width: h, height: w } : { width: w, height: h };
    const nodes = [], edges = [];
    const setNode = (name, label) => nodes.push([name, label]), setEdge = (v, w, label) => edges.push([v, w, label]);
    const members = known.children.get(path) || [];
    const arrows = known.into.get(path) || [];
    const items = new Map();
    for (const box of members) {
      const open = options.open.has(box.path) && known.children.has(box.path);
      const inner = open ? level(box.path, known, options) : null;
      const lines = linesOf(box, options);
      const { w, h } = inner || sizeOfLines(lines);
      items.set(box.path, { box, inner, lines, w, h });
      setNode("n" + box.path, flip(w, h));
    }
    const outside = new Set(arrows.map(a => a.source).filter(s => !items.has(s)));
    const around = known.boxes.get(path), results = around ? around.results : [];
    for (const r of results) if (!items.has(r)) outside.add(r);
    if (outside.size) setNode("top", { width: 1, height: 1 });
    for (const source of outside) {
      setNode("i" + source, { width: 2 * PIN, height: 2 * PIN });
      setEdge("top", "i" + source, { weight: 100, width: 0, height: 0 });
    }
    const node = source => (items.has(source) ? "n" : "i") + source;
    for (const { source, target, values } of arrows) {
      const text = options.shapes && items.has(source) ? shortened(shapesOf(values, options)) : "";
      const size = text ? flip(Math.ceil(textWidth(text, 11)) + 6, 14) : { width: 0, height: 0 };
      setEdge(node(source), "n" + target, { text, labelpos: "c", weight: known.boxes.get(target).role === "output" ? 1 : 2, ...size });
    }
    if (around) {
      setNode("out", { width: 2 * PIN, height: 2 * PIN });
      const ends = results.length ? results : members.filter(b => !arrows.some(a => a.source === b.path)).map(b => b.path);
      for (const end of ends) setEdge(node(end), "out", { text: "", width: 0, height: 0 });
    }
    const graph = arranged(nodes, edges);
    return placed(graph, items, outside, Boolean(around), around ? headerWidth(around, options) : 0, options, across);
  }

  /* dagre's crossings depend on the order in which it hears of nodes and edges: of three orders the best is taken. */
  function arranged(nodes, edges) {
    let best = null, fewest = Infinity;
    for (const turn of nodes.length <= 80 ? [0, 1, 2] : [0]) {
      const graph = new dagre.graphlib.Graph();
      graph.setGraph({ rankdir: "TB", nodesep: 26, edgesep: 18, ranksep: 40, ranker: nodes.length > 250 ? "longest-path" : "network-simplex" });
      for (const [name, label] of turn === 2 ? [...nodes].reverse() : nodes) graph.setNode(name, { ...label });
      for (const [v, w, label] of turn ? [...edges].reverse() : edges) graph.setEdge(v, w, { ...label });
      dagre.layout(graph);
      const found = crossings(graph);
      if (found < fewest) [best, fewest] = [graph, found];
      if (!found) break;
    }
    return best;
  }

  function crossings(graph) {
    const side = (p, q, r) => Math.sign((q.x - p.x) * (r.y - p.y) - (q.y - p.y) * (r.x - p.x));
    const pieces = graph.edges().flatMap((e, i) => graph.edge(e).points.slice(1).map((q, k) => [i, graph.edge(e).points[k], q]));
    pieces.sort((a, b) => a[1].y - b[1].y);
    let found = 0;
    for (let i = 0; i < pieces.length; i++) {
      const [one, p, q] = pieces[i];
      for (let k = i + 1; k < pieces.length && pieces[k][1].y < q.y; k++) {
        const [other, r, t] = pieces[k];
        if (one !== other && side(p, q, r) * side(p, q, t) < 0 && side(r, t, p) * side(r, t, q) < 0) found++;
      }
    }
    return found;
  }

  function headerWidth(box, options) {
    return textWidth(header(box, options), 12, true) + 2 * PAD + 14;
  }

  const header = (box, options) => shortened(options.names ? box.name : box.kind) + (options.names && box.kind !== box.name ? "  " + shortened(box.kind) : "");

  /* From dagre's centres to corners and wires. */
  function placed(graph, items, outside, framed, titled, options, across) {
    const at = name => graph.node(name);
    const rows = rowsOf(graph);
    let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
    const grow = (v0, v1, u0, u1) => { left = Math.min(left, v0); right = Math.max(right, v1); top = Math.min(top, u0); bottom = Math.max(bottom, u1); };
    for (const path of items.keys()) {
      const { x, y, width, height } = at("n" + path);
      grow(x - width / 2, x + width / 2, y - height / 2, y + height / 2);
    }
    for (const source of outside) grow(at("i" + source).x, at("i" + source).x, Infinity, -Infinity);
    if (framed) grow(at("out").x, at("out").x, Infinity, -Infinity);
    const wires = [];
    for (const { v, w } of graph.edges()) {
      if (v === "top") continue;
      const edge = graph.edge(v, w);
      const wire = { v, w, points: edge.points.slice(1, -1), text: edge.text, label: edge.text ? { v: edge.x, u: edge.y, w: edge.width, h: edge.height } : null };
      for (const p of wire.points) grow(p.x, p.x, Infinity, -Infinity);
      if (wire.label) grow(edge.x - edge.width / 2, edge.x + edge.width / 2, edge.y, edge.y);
      wires.push(wire);
    }
    if (!Number.isFinite(left)) left = right = top = bottom = 0;
    if (!Number.isFinite(top)) top = bottom = 0;
    /* The frame's title stands over the first row, or beside it where the flow goes sideways. */
    const mirrored = options.rankdir === "BT" || options.rankdir === "RL", heads = across ? [40, 28] : mirrored ? [38, HEADER + 10] : [HEADER + 16, 20];
    const [before, after] = framed ? heads : [MARGIN, MARGIN];
    const sideStart = framed ? (across ? HEADER + 4 : 14) : MARGIN, sideEnd = framed ? 14 : MARGIN;
    let v0 = left - sideStart, v1 = right + sideEnd, u1 = bottom + after;
    const u0 = top - before;
    const missing = titled - (across ? u1 - u0 : v1 - v0);
    if (missing > 0) { if (across) u1 += missing; else { v0 -= missing / 2; v1 += missing / 2; } }
    const span = u1 - u0, spread = v1 - v0;
    const V = x => x - v0, U = y => mirrored ? u1 - y : y - u0;
    const point = (v, u) => across ? [U(u), V(v)] : [V(v), U(u)];
    const level = { w: across ? span : spread, h: across ? spread : span, items: [], wires: [], entries: new Map(), exit: null, pins: [] };
    for (const source of outside) {
      level.entries.set(source, V(at("i" + source).x));
      level.pins.push(point(at("i" + source).x, u0));
    }
    if (framed) {
      level.exit = V(at("out").x);
      level.pins.push(point(at("out").x, u1));
    }
    for (const [path, item] of items) {
      const { x, y } = at("n" + path);
      const [cx, cy] = point(x, y);
      level.items.push({ ...item, x: cx - item.w / 2, y: cy - item.h / 2 });
    }
    for (const wire of wires) {
      const path = wirePath(wire, graph, items, rows, u0, u1);
      level.wires.push({
        source: wire.v.slice(1), target: wire.w === "out" ? "" : wire.w.slice(1),
        arrow: wire.w !== "out" && !(items.get(wire.w.slice(1)).inner && items.get(wire.w.slice(1)).inner.entries.has(wire.v.slice(1))), text: wire.text,
        label: wire.label && point(wire.label.v, wire.label.u),
        path: path.map(([command, ...points]) => command + points.map(p => point(p[0], p[1]).map(n => Math.round(n * 10) / 10).join(" ")).join(" ")).join(""),
      });
    }
    return level;
  }

  /* For each rank, at its centre, where its boxes begin and end: wires run straight there, and bend in between. */
  function rowsOf(graph) {
    const rows = new Map();
    for (const name of graph.nodes()) {
      const { y, height } = graph.node(name), key = Math.round(y * 10);
      const row = rows.get(key) || [Infinity, -Infinity];
      rows.set(key, [Math.min(row[0], y - height / 2), Math.max(row[1], y + height / 2)]);
    }
    return y => rows.get(Math.round(y * 10)) || [y, y];
  }

  function wirePath(wire, graph, items, rows, u0, u1) {
    const source = graph.node(wire.v), target = graph.node(wire.w);
    const from = items.get(wire.v.slice(1)), to = items.get(wire.w.slice(1));
    const middle = wire.points, first = middle[0] || target, last = middle[middle.length - 1] || source;
    const end = (node, toward, pin) => pin !== undefined && pin !== null ? node.x - node.width / 2 + pin
      : node.width <= 2 * PIN ? node.x : Math.min(Math.max(toward.x, node.x - node.width / 2 + 12), node.x + node.width / 2 - 12);
    const sv = end(source, first, wire.v[0] === "n" && from.inner ? from.inner.exit : null);
    const tv = end(target, last, wire.w[0] === "n" && to.inner ? to.inner.entries.get(wire.v.slice(1)) : null);
    const su = wire.v[0] === "i" ? u0 : source.y + source.height / 2, tu = wire.w === "out" ? u1 : target.y - target.height / 2;
    const stops = [[sv, su, Math.max(rows(source.y)[1], su)]];
    for (const p of middle) {
      const [a, b] = rows(p.y);
      stops.push([p.x, a, b]);
    }
    stops.push([tv, Math.min(rows(target.y)[0], tu), tu]);
    const path = [["M", [sv, stops[0][1]]], ["L", [sv, stops[0][2]]]];
    for (let i = 1; i < stops.length; i++) {
      const [pv, , pu] = stops[i - 1], [v, a, b] = stops[i], half = (pu + a) / 2;
      if (Math.abs(pv - v) < 0.5) path.push(["L", [v, a]]);
      else path.push(["C", [pv, half], [v, half], [v, a]]);
      if (b > a) path.push(["L", [v, b]]);
    }
    return path;
  }

  /* ---- SVG ---- */

  const number = n => String(Math.round(n * 10) / 10);

  function styleOf(box) {
    if (box.role !== "layer") return box.role;
    return box.parameters ? "layer weights" : "layer";
  }

  function titleOf(box) {
    const parts = [`${box.path} (${box.kind})`, box.place && `${box.place}  ${box.line}`];
    return `<title>${escape(parts.filter(Boolean).join("\n"))}</title>`;
  }

  function drawItem(item, known, options, selected) {
    const { box, inner, lines, x, y, w, h } = item;
    const opens = known.children.has(box.path);
    const marks = `data-path="${escape(box.path)}" transform="translate(${number(x)} ${number(y)})" tabindex="0" role="button" aria-label="${escape(box.path)}"`;
    const picked = selected === box.path ? " selected" : "";
    if (inner) {
      const [title, kind] = options.names ? [box.name, box.kind === box.name ? "" : box.kind] : [box.kind, ""];
      return `<g class="group depth${box.depth % 2}${picked}" ${marks}>${titleOf(box)}<rect class="frame" width="${number(w)}" height="${number(h)}" rx="10"/>`
        + drawLevel(inner, known, options, selected)
        + `<text class="sign" x="${PAD + 4}" y="18">−</text><text class="header title" x="${PAD + 14}" y="18">${escape(shortened(title))}<tspan class="kind" dx="7">${escape(shortened(kind))}</tspan></text></g>`;
    }
    const step = (h - 13) / lines.length;
    const texts = lines.map(([style, text], i) => `<text class="${style}" x="${number(w / 2)}" y="${number(6.5 + (i + 0.5) * step + (style === "name" ? 4.6 : 4))}">${escape(text)}</text>`);
    const behind = opens ? `<rect class="behind" x="3" y="3" width="${number(w)}" height="${number(h)}" rx="8"/>` : "";
    const sign = opens ? `<text class="sign" x="${number(w - 8)}" y="13">+</text>` : "";
    return `<g class="box ${styleOf(box)}${opens ? " closed" : ""}${picked}" ${marks}>${titleOf(box)}${behind}<rect width="${number(w)}" height="${number(h)}" rx="${box.role === "operation" ? h / 2 : 8}"/>${texts.join("")}${sign}</g>`;
  }

  function drawLevel(scene, known, options, selected) {
    const wires = scene.wires.map(wire =>
      `<path class="wire" data-source="${escape(wire.source)}" data-target="${escape(wire.target)}" d="${wire.path}"${wire.arrow ? ' marker-end="url(#arrow)"' : ""}/>`);
    const items = scene.items.map(item => drawItem(item, known, options, selected));
    const labels = scene.wires.filter(w => w.label).map(w => {
      const wide = textWidth(w.text, 11);
      return `<rect class="plate" x="${number(w.label[0] - wide / 2 - 1)}" y="${number(w.label[1] - 7)}" width="${number(wide + 2)}" height="14" rx="3"/>`
        + `<text class="shape" x="${number(w.label[0])}" y="${number(w.label[1] + 4)}">${escape(w.text)}</text>`;
    });
    const pins = scene.pins.map(([x, y]) => `<circle class="pin" cx="${number(x)}" cy="${number(y)}" r="${PIN}"/>`);
    return [...wires, ...items, ...labels, ...pins].join("");
  }

  /* Layers that were never called, in a row of their own under the graph. */
  function uncalled(picture, width, top) {
    if (!picture.uncalled.length) return { body: "", w: 0, h: 0 };
    let x = MARGIN, y = top + 22, widest = 0, body = `<text class="header" x="${MARGIN}" y="${number(top + 10)}">Never called</text>`;
    for (const layer of picture.uncalled) {
      const lines = [["name", shortened(layer.path)], ["kind", layer.kind + (layer.parameters === null ? " · not built" : ` · ${count(layer.parameters)} params`)]];
      const { w, h } = sizeOfLines(lines);
      if (x > MARGIN && x + w + MARGIN > Math.max(width, 480)) { x = MARGIN; y += h + 12; }
      body += `<g class="box uncalled" transform="translate(${number(x)} ${number(y)})"><title>${escape(layer.path)}: created, never called</title><rect width="${w}" height="${h}" rx="8"/>`
        + lines.map(([style, text], i) => `<text class="${style}" x="${number(w / 2)}" y="${number(6.5 + (i + 0.5) * LINE + 4.3)}">${escape(text)}</text>`).join("") + "</g>";
      x += w + 12;
      widest = Math.max(widest, x - 12 + MARGIN);
    }
    return { body, w: widest, h: y + 43 + MARGIN - top };
  }

  const DEFAULTS = { rankdir: "TB", shapes: true, names: true, dtypes: false, activations: false, trainable: false };

  /* {svg, w, h}: what is inside the <svg> element, and its size. `open` holds the paths of the layers that show what is inside. */
  function draw(picture, settings, selected) {
    const options = { ...DEFAULTS, ...settings, open: new Set(settings.open || []) };
    const known = prepare(picture), scene = level("", known, options);
    const rest = uncalled(picture, scene.w, scene.h);
    const body = `<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="head" d="M0 0.8L8 4L0 7.2z"/></marker></defs>`;
    return { svg: body + drawLevel(scene, known, options, selected) + rest.body, w: Math.ceil(Math.max(scene.w, rest.w)), h: Math.ceil(scene.h + rest.h) };
  }

  /* A whole SVG file. */
  function file(picture, settings, style) {
    const { svg, w, h } = draw(picture, settings, null);
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}" role="img" aria-label="${escape(picture.kind)}">\n`
      + `<title>${escape(picture.kind)}</title><style>${style}</style>\n<rect class="paper" width="${w}" height="${h}"/>\n${svg.replace(/ tabindex="0" role="button"/g, "")}\n</svg>\n`;
  }

  return { draw, file, count, escape };
})();
