"use strict";
// Decisions about images, taken down for corrections.csv, and the map. Names come from strangers: they are set as text,
// never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const KEYS = { k: "keep", m: "move", x: "leave out", g: "group" };
const STEERING = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const printable = (text) =>
  text.replace(STEERING, (one) => "\\u" + one.charCodeAt(0).toString(16).padStart(4, "0"));

// --- decisions: of a file one about its label (keep, move, leave out) and one about its group ---

const decisions = new Map();
const slot = (file, action) => (action === "group" ? "group" : "label") + "\n" + file;
const decided = (file, action) => {
  const found = decisions.get(slot(file, action));
  return found && found.action === action ? found : undefined;
};

function decide(file, action, target, reason) {
  decisions.set(slot(file, action), { file, action, target, reason });
}

function rows() {
  const order = (one) => one.file + "\n" + one.action;
  return [...decisions.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

function csv() {
  const quoted = (text) => (/[",;\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  const lines = rows().map((one) => [one.file, one.action, one.target, one.reason].map(quoted).join(","));
  return ["file,action,class_or_group,reason", ...lines].join("\n") + "\n";
}

// what was decided outlives a reload, where the browser keeps anything for a page that lies on the disk
function remember() {
  try {
    localStorage.setItem(data.key, JSON.stringify(rows()));
  } catch {
    // then the page forgets
  }
}

function recall() {
  try {
    return JSON.parse(localStorage.getItem(data.key));
  } catch {
    return null;
  }
}

// --- cards: an image with its buttons ---

const imageOf = (card) => Number(card.dataset.image);
const fileOf = (card) => data.files[imageOf(card)];
const say = (text) => ($("#said").textContent = text);

function act(card, action) {
  const file = fileOf(card);
  const select = $("select", card);
  const target = { move: data.classes[select.value], group: card.dataset.group }[action] || "";
  if (action === "group" && !target) return;
  if (action === "move" && !target) {
    fill(select);
    select.focus();
    say("Choose a class to move " + printable(file) + " to");
    return;
  }
  const before = decided(file, action);
  if (before && before.target === target) {
    decisions.delete(slot(file, action));
    say(printable(file) + ": taken back");
  } else {
    decide(file, action, target, card.dataset.why);
    say(printable(file) + ": " + action + (target ? " " + printable(target) : ""));
  }
  refresh();
}

// the classes come into a list when it is wanted: there may be a thousand, and hundreds of lists
function fill(select) {
  if (select.dataset.filled) return;
  const chosen = select.value;
  select.dataset.filled = "yes";
  data.classes.forEach((name, label) => {
    if (String(label) === chosen) return;
    const option = document.createElement("option");
    option.value = label;
    option.textContent = printable(name);
    select.append(option);
  });
}

function move(card, step) {
  const cards = all(".card").filter((one) => one.offsetParent); // not those folded away
  const next = cards[cards.indexOf(card) + step];
  if (!next) return;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function bulk(button) {
  const box = button.closest(".box");
  const boxes = box ? [box] : all(".box", button.closest("section"));
  for (const one of boxes) {
    const members = one.dataset.members.split(" ").map(Number);
    members.forEach((image, place) => {
      if (button.dataset.bulk === "group") decide(data.files[image], "group", one.dataset.group, one.dataset.why);
      else if (place) decide(data.files[image], "leave out", "", one.dataset.why);
    });
  }
  say(button.textContent + ": done");
  refresh();
}

function show(card) {
  let any = false;
  for (const button of all("[data-act]", card)) {
    const found = decided(fileOf(card), button.dataset.act);
    button.setAttribute("aria-pressed", String(Boolean(found)));
    any ||= Boolean(found);
    if (found && found.action === "move") {
      const select = $("select", card);
      fill(select);
      select.value = data.classes.indexOf(found.target);
    }
  }
  card.classList.toggle("decided", any);
}

// --- the table of what was decided ---

function cell(content, column) {
  const made = document.createElement(column ? "td" : "th");
  made.setAttribute("role", column ? "cell" : "rowheader");
  if (column) made.dataset.column = column;
  else made.scope = "row";
  made.append(content);
  return made;
}

function line(one) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  const reason = document.createElement("input");
  reason.value = one.reason;
  reason.setAttribute("aria-label", "Reason for " + printable(one.file));
  reason.addEventListener("change", () => {
    one.reason = reason.value.trim();
    remember();
  });
  const back = document.createElement("button");
  back.type = "button";
  back.textContent = "Take back";
  back.setAttribute("aria-label", "Take back " + one.action + " of " + printable(one.file));
  back.addEventListener("click", () => {
    decisions.delete(slot(one.file, one.action));
    refresh();
    $("#corrections").focus();
  });
  row.append(cell(printable(one.file)), cell(one.action, "action"), cell(printable(one.target), "class or group"),
    cell(reason, "reason"), cell(back, " "));
  return row;
}

function refresh() {
  const found = rows();
  $("#decisions tbody").replaceChildren(...found.map(line));
  $("#decisions").hidden = !found.length;
  $("#none").hidden = Boolean(found.length);
  $("#download").disabled = !found.length;
  $("#count").textContent = found.length
    ? `${found.length} correction${found.length > 1 ? "s" : ""}, not yet in any file until you download`
    : "No corrections yet";
  all("main > section .card").forEach(show);
  remember();
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
  link.download = "corrections.csv";
  link.click();
  URL.revokeObjectURL(link.href);
  $("#count").textContent = `${decisions.size} correction${decisions.size > 1 ? "s" : ""}, downloaded`;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.act) act(button.closest(".card"), button.dataset.act);
  else if (button.dataset.bulk) bulk(button);
  else if (button.id === "download") download();
});
for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => event.target.matches(".move select") && fill(event.target));
}
document.addEventListener("change", (event) => {
  const card = event.target.matches(".move select") && event.target.closest(".card");
  if (card && decided(fileOf(card), "move")) act(card, "move");
});
document.addEventListener("keydown", (event) => {
  const card = event.target.closest(".card");
  if (!card || event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") move(card, 1);
  else if (event.key === "p") move(card, -1);
  else if (KEYS[event.key]) act(card, KEYS[event.key]);
  else return;
  event.preventDefault();
});

// --- the map ---

// Okabe and Ito's colours, which the colour-blind can tell apart; with shapes there are enough for 24 classes
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const SHAPES = 4;
const NEAR = 24; // CSS pixels within which a pointer finds an image
const BORDER = 12; // CSS pixels around the map's square

function mark(pen, label, x, y, size) {
  pen.fillStyle = COLOURS[label % COLOURS.length];
  pen.beginPath();
  const shape = Math.floor(label / COLOURS.length) % SHAPES;
  if (shape === 0) pen.arc(x, y, size, 0, 2 * Math.PI);
  else if (shape === 1) pen.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  else {
    const corners = shape === 2 ? [[0, -1.3], [1.2, 0.9], [-1.2, 0.9]] : [[0, -1.4], [1.2, 0], [0, 1.4], [-1.2, 0]];
    corners.forEach(([right, down], i) => pen[i ? "lineTo" : "moveTo"](x + right * size, y + down * size));
  }
  pen.closePath();
  pen.fill();
}

function startMap(canvas) {
  const pen = canvas.getContext("2d");
  const sheet = $("#sheet");
  const tip = $("#tip");
  const ringed = new Set(data.ringed);
  let places = data.layouts[$("[data-layout][aria-pressed=true]").dataset.layout];
  let only = null; // the label of the one class that is shown
  let chosen = -1; // which of the mapped images
  let width = 0;

  const scale = (value) => BORDER + (value / 1000) * (width - 2 * BORDER);
  const at = (i) => [scale(places[2 * i]), scale(places[2 * i + 1])];
  const label = (i) => data.labels[data.mapped[i]];
  const isShown = (i) => only === null || label(i) === only;
  let opened = null;
  const pictures = () => (opened ??= sheet.decode().then(() => createImageBitmap(sheet))); // once, when first wanted
  const paint = async (target, i) => {
    const bitmap = await pictures();
    const { side, columns } = data.sheet;
    const [left, top] = [(i % columns) * side, Math.floor(i / columns) * side];
    target.getContext("2d").drawImage(bitmap, left, top, side, side, 0, 0, target.width, target.height);
  };

  function draw() {
    const sharpness = window.devicePixelRatio || 1;
    width = canvas.clientWidth;
    canvas.width = canvas.height = Math.round(width * sharpness);
    pen.setTransform(sharpness, 0, 0, sharpness, 0, 0);
    const size = Math.min(Math.max(70 / Math.sqrt(data.mapped.length), 2), 5);
    const text = getComputedStyle(canvas).color;
    for (const wanted of [false, true]) {
      pen.globalAlpha = wanted ? 0.85 : 0.12;
      data.mapped.forEach((image, i) => isShown(i) === wanted && mark(pen, label(i), ...at(i), size));
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = text;
    data.mapped.forEach((image, i) => {
      if (!isShown(i) || !(ringed.has(image) || i === chosen)) return;
      pen.lineWidth = i === chosen ? 3 : 1.5;
      pen.beginPath();
      pen.arc(...at(i), size + (i === chosen ? 6 : 3), 0, 2 * Math.PI);
      pen.stroke();
    });
  }

  function nearest(x, y, within = Infinity, allows = () => true) {
    let [best, least] = [-1, within ** 2];
    data.mapped.forEach((image, i) => {
      const [right, down] = at(i);
      const distance = (right - x) ** 2 + (down - y) ** 2;
      if (distance < least && isShown(i) && allows(right - x, down - y, i)) [best, least] = [i, distance];
    });
    return best;
  }

  function choose(i) {
    if (i < 0) return;
    chosen = i;
    draw();
    const image = data.mapped[i];
    const card = $("#blank").content.firstElementChild.cloneNode(true);
    const name = printable(data.files[image]);
    const words = printable(data.classes[data.labels[image]]);
    card.dataset.image = image;
    card.dataset.why = "seen on the map";
    $(".words p", card).textContent = "In " + words;
    $(".file", card).textContent = name;
    $(".acts", card).setAttribute("aria-label", "Decide about " + name);
    $("canvas", card).setAttribute("aria-label", name + ", of the class " + words);
    $("#chosen").replaceChildren(card);
    show(card);
    say(name + ", in " + words);
    paint($("canvas", card), i);
  }

  function hint(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const i = event.pointerType === "mouse" ? nearest(x, y, NEAR) : -1;
    tip.hidden = i < 0;
    if (i < 0) return;
    const image = data.mapped[i];
    $("div", tip).textContent = printable(data.classes[data.labels[image]]) + ": " + printable(data.files[image]);
    tip.style.left = `${Math.min(x + 14, width - tip.offsetWidth)}px`;
    tip.style.top = y > width / 2 ? `${y - tip.offsetHeight - 14}px` : `${y + 14}px`;
    paint($("canvas", tip), i);
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    if (chosen < 0) return void choose(nearest(width / 2, width / 2));
    const ahead = (right, down, i) => {
      const along = right * arrow[0] + down * arrow[1];
      return i !== chosen && along > 0 && along >= Math.abs(right * arrow[1] + down * arrow[0]);
    };
    choose(nearest(...at(chosen), Infinity, ahead));
  });
  canvas.addEventListener("pointermove", hint);
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    choose(nearest(event.clientX - box.left, event.clientY - box.top, 2 * NEAR));
  });

  for (const button of all("[data-layout]")) {
    button.addEventListener("click", () => {
      places = data.layouts[button.dataset.layout];
      all("[data-layout]").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      draw();
    });
  }
  data.classes.forEach((name, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    const sample = document.createElement("canvas");
    sample.width = sample.height = 28;
    mark(sample.getContext("2d"), number, 14, 14, 9);
    button.append(sample, printable(name));
    button.addEventListener("click", () => {
      only = only === number ? null : number;
      all("button", $("#legend")).forEach((one) => one.setAttribute("aria-pressed", "false"));
      button.setAttribute("aria-pressed", String(only === number));
      draw();
    });
    const item = document.createElement("li");
    item.append(button);
    $("#legend").append(item);
  });
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

for (const one of recall() || data.decided) decide(one.file, one.action, one.target, one.reason);
refresh();
if ($("#atlas")) startMap($("#atlas"));
