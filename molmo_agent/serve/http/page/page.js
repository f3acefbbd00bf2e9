"use strict";
// The page of `agent serve`: an image, a question, and the points on the image, which can be moved. It talks to its own
// server alone. Text of models goes to the page as text, never as HTML.

const $ = (id) => document.getElementById(id);
const state = { url: null, name: null, size: null, answer: null, points: [], models: [], token: "", number: 0 };

function say(text, kind = "") {
  $("status").textContent = text;
  $("status").className = kind;
}

async function api(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
  const response = await fetch(path, options);
  if (response.status === 401) {
    $("token-box").hidden = false;
    $("token").focus();
  }
  if (!response.ok) {
    const text = await response.text();
    let message = text;
    try { message = JSON.parse(text).error.message; } catch (error) { message = `${response.status} ${text.slice(0, 200)}`; }
    throw new Error(message);
  }
  return response;
}

async function listModels() {
  try {
    state.models = (await (await api("v1/models")).json()).data;
  } catch (error) {
    say(error.message, "bad");
    return;
  }
  $("token-box").hidden = true;
  $("model").replaceChildren(...state.models.map((model) => new Option(model.id, model.id)));
  say("");
  showKinds();
}

const kind = () => document.querySelector("[name=kind]:checked").value;

function showKinds() {
  const model = state.models.find((one) => one.id === $("model").value);
  const words = Boolean(model && model.answers_in_words);
  $("words-kind").hidden = !words;
  if (!words) document.querySelector("[name=kind][value=point]").checked = true;
  $("send").textContent = kind() === "point" ? "Point" : "Ask";
  $("question").placeholder = kind() === "point" ? 'the "Save" button' : "What is on the screen?";
}

function load(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) {
    say(`expected an image, got ${file.type || "a file of an unknown type"}: ${file.name}`, "bad");
    return;
  }
  const reader = new FileReader();
  reader.onerror = () => say(`cannot read ${file.name}`, "bad");
  reader.onload = () => {
    state.number += 1;
    state.url = reader.result;
    state.name = file.name;
    $("image").onload = () => { state.size = [$("image").naturalWidth, $("image").naturalHeight]; };
    $("image").src = reader.result;
    $("drop").hidden = true;
    $("frame").hidden = false;
    clear();
    say("");
    $("question").focus();
  };
  reader.readAsDataURL(file);
}

function clear() {
  state.answer = null;
  state.points = [];
  $("answer").hidden = true;
  show();
}

async function ask(event) {
  event.preventDefault();
  if (!state.url) {
    say("Drop an image first.", "bad");
    return;
  }
  clear();
  const number = (state.number += 1);
  const asked = { model: $("model").value, question: $("question").value, kind: kind() };
  say("Looking …", "busy");
  $("send").disabled = true;
  try {
    if (asked.kind === "words") await askForWords(asked, number);
    else await askForPoints(asked, number);
  } catch (error) {
    if (number === state.number) say(error.message, "bad");
  } finally {
    $("send").disabled = false;
  }
}

async function askForPoints(asked, number) {
  const began = performance.now();
  const body = { model: asked.model, instruction: asked.question, image: state.url };
  const answer = await (await api("v1/point", body)).json();
  // Another image or question came in the meantime.
  if (number !== state.number) return;
  state.answer = { ...asked, ...answer };
  state.points = answer.points.map((point) => ({ ...point, was: { x: point.x, y: point.y } }));
  say(`${((performance.now() - began) / 1000).toFixed(1)} s`);
  $("words").textContent = { ok: "", none: "Not found in the image." }[answer.status] ?? `No answer (${answer.status}): ${answer.reply}`;
  $("answer").hidden = false;
  show();
}

async function askForWords(asked, number) {
  const content = [{ type: "image_url", image_url: { url: state.url } }, { type: "text", text: asked.question }];
  const body = { model: asked.model, task: "words", stream: true, messages: [{ role: "user", content }] };
  const reader = (await api("v1/chat/completions", body)).body.pipeThrough(new TextDecoderStream()).getReader();
  state.answer = { ...asked, reply: "" };
  $("words").textContent = "";
  $("answer").hidden = false;
  let rest = "", ended = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (number !== state.number) { reader.cancel(); return; }
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter((one) => one.startsWith("data: "))) {
      if (line === "data: [DONE]") { ended = true; continue; }
      const event = JSON.parse(line.slice(6));
      if (event.error) throw new Error(event.error.message);
      for (const choice of event.choices) {
        state.answer.reply += choice.delta.content || "";
        if (choice.finish_reason === "length") state.answer.cut_off = true;
      }
      $("words").textContent = state.answer.reply + (state.answer.cut_off ? " …" : "");
    }
  }
  if (!ended) throw new Error("the answer ended early; ask again");
  say(state.answer.cut_off ? "cut off at the limit of tokens" : "");
  show();
}

function isMoved(point) {
  return point.x !== point.was.x || point.y !== point.was.y;
}

function record() {
  const answer = state.answer;
  if (!answer) return {};
  const common = { image: state.name, size: answer.size || state.size, model: answer.model };
  if (answer.kind === "words") return { ...common, question: answer.question, answer: answer.reply };
  const points = state.points.map((point) => {
    const { was, ...rest } = point;
    return isMoved(point) ? { ...rest, probability: null, corrected_from: was } : rest;
  });
  return { ...common, instruction: answer.question, status: answer.status, frame: answer.frame, points };
}

function show() {
  const [width, height] = (state.answer && state.answer.size) || state.size || [1, 1];
  $("marks").replaceChildren(...state.points.map((point, index) => mark(point, index)));
  $("points").replaceChildren(...state.points.map((point, index) => {
    const row = document.createElement("li");
    row.classList.toggle("moved", isMoved(point));
    const parts = { b: ["", String(index + 1)], label: ["label", point.label || state.answer.question], sure: ["sure", sureness(point)] };
    for (const [name, [className, text]] of Object.entries(parts)) {
      const part = document.createElement(name === "b" ? "b" : "span");
      part.className = className;
      part.textContent = text;
      row.append(part);
    }
    const place = document.createElement("span");
    place.className = "place";
    const pixel = [Math.min(Math.floor(point.x * width), width - 1), Math.min(Math.floor(point.y * height), height - 1)];
    place.textContent = `${point.x.toFixed(3)}, ${point.y.toFixed(3)} · pixel ${pixel[0]}, ${pixel[1]}`;
    row.append(place);
    return row;
  }));
  $("hint").hidden = !state.points.length;
  $("reset").hidden = !state.points.some(isMoved);
  $("json").textContent = JSON.stringify(record(), null, 2);
}

function sureness(point) {
  if (isMoved(point)) return "moved by you";
  return typeof point.probability === "number" ? `${Math.round(100 * point.probability)} % sure` : "";
}

function mark(point, index) {
  const dot = document.createElement("button");
  dot.type = "button";
  dot.className = isMoved(point) ? "mark moved" : "mark";
  const number = document.createElement("span");
  number.textContent = index + 1;
  dot.append(number);
  dot.setAttribute("aria-label", `Point ${index + 1}: ${point.label || "no label"}. Move it with the arrow keys.`);
  const place = () => { dot.style.left = `${100 * point.x}%`; dot.style.top = `${100 * point.y}%`; };
  place();
  dot.addEventListener("pointerdown", (event) => { dot.setPointerCapture(event.pointerId); event.preventDefault(); });
  dot.addEventListener("pointermove", (event) => {
    if (!dot.hasPointerCapture(event.pointerId)) return;
    const box = $("image").getBoundingClientRect();
    move(point, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    place();
  });
  dot.addEventListener("lostpointercapture", show);
  dot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 : 1, [width, height] = state.answer.size;
    move(point, point.x + (far * step[0]) / width, point.y + (far * step[1]) / height);
    show();
    $("marks").children[index].focus();
  });
  return dot;
}

function move(point, x, y) {
  point.x = Math.min(Math.max(x, 0), 1);
  point.y = Math.min(Math.max(y, 0), 1);
}

async function copy() {
  const text = $("json").textContent;
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch (error) {
    // Over http from another machine, a browser has no clipboard for pages.
    document.querySelector("details").open = true;
    getSelection().selectAllChildren($("json"));
    say("Press Ctrl+C to copy the selected text.");
  }
}

$("form").addEventListener("submit", ask);
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("form").requestSubmit(); }
});
$("model").addEventListener("change", showKinds);
for (const radio of document.querySelectorAll("[name=kind]")) radio.addEventListener("change", showKinds);
for (const opener of [$("drop"), $("replace")]) opener.addEventListener("click", () => $("file").click());
$("drop").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); $("file").click(); } });
$("file").addEventListener("change", () => { load($("file").files[0]); $("file").value = ""; });
$("copy").addEventListener("click", copy);
$("reset").addEventListener("click", () => { for (const point of state.points) Object.assign(point, point.was); show(); });
$("token").addEventListener("change", () => { state.token = $("token").value.trim(); listModels(); });
const stage = document.querySelector(".stage");
for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { event.preventDefault(); stage.classList.add("over"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, (event) => { event.preventDefault(); stage.classList.remove("over"); });
addEventListener("drop", (event) => load(event.dataTransfer.files[0]));
addEventListener("paste", (event) => { if (event.clipboardData.files.length) load(event.clipboardData.files[0]); });
listModels();
