// The frame of the page: annotator, tabs, images, keys. Each task fills the panel on the right.
import { Stage } from "./stage.js";
import { points } from "./points.js";
import { count } from "./count.js";
import { speak } from "./speak.js";
import { ask } from "./ask.js";

export const $ = (id) => document.getElementById(id);
const TASKS = { points, count, speak, ask };
export const state = { annotator: localStorage.getItem("annotator") || "", items: [], item: null, task: "points" };

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties))
    key in element ? (element[key] = value) : element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function say(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error("The server does not answer. What you see is not saved: start agent pixmo collect again and reload.");
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

export const get = (path) => answer(fetch(`${path}?annotator=${encodeURIComponent(state.annotator)}`));
export const post = (path, values) =>
  answer(fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ annotator: state.annotator, item: state.item?.id, ...values }),
  }));
export const send = (path, body, type) =>
  answer(fetch(`${path}?annotator=${encodeURIComponent(state.annotator)}&item=${state.item.id}`, {
    method: "POST", headers: { "Content-Type": type }, body,
  }));

// Runs what may fail, and shows why it did.
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

export const stage = new Stage($("stage"), $("picture"), $("marks"), () => onChange());
const task = () => TASKS[state.task];

function onChange() {
  $("undo").disabled = !stage.past.length;
  $("redo").disabled = !stage.future.length;
  $("zoom-level").textContent = `${Math.round(100 * stage.zoom)}\u00a0%`;
  task().changed?.();
}

export async function refresh() {
  state.items = await get("/api/items");
  const rows = state.items.map((item) => {
    const [text, kind] = task().badge(item);
    return make("button", { onclick: () => attempt(() => open(item.id)), title: item.name, "aria-current": item.id === state.item?.id },
      make("span", { className: "file" }, item.name), make("span", { className: `badge ${kind}` }, text));
  });
  $("images").replaceChildren(...rows);
  const done = state.items.filter((item) => task().done(item)).length;
  $("progress").textContent = `${done} of ${state.items.length} images`;
}

export function showItem(item) {
  state.item = item;
  $("name").textContent = item.name;
  task().show(item);
}

// Nothing that was pointed at is lost without a question.
const mayLeave = () => !task().unsaved?.() || confirm("The points on the image are not saved. Leave them?");

async function open(id) {
  if (!mayLeave()) return;
  const item = await get(`/api/items/${id}`);
  say("");
  stage.show(`/api/images/${id}`, item.size);
  showItem(item);
  await refresh();
  $("images").querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
}

function go(step) {
  const index = state.items.findIndex((item) => item.id === state.item?.id) + step;
  if (state.items[index]) attempt(() => open(state.items[index].id));
}

function showTabs() {
  const tabs = Object.entries(TASKS).map(([name, { title }]) =>
    make("button", { role: "tab", id: `tab-${name}`, "aria-selected": name === state.task, onclick: () => choose(name) }, title));
  $("tabs").replaceChildren(...tabs);
}

function choose(name) {
  if (!mayLeave()) return;
  task().leave?.();
  state.task = name;
  showTabs();
  stage.reset([]);
  attempt(async () => { await refresh(); if (state.item) await open(state.item.id); });
}

async function start() {
  $("who").hidden = Boolean(state.annotator);
  $("app").hidden = !state.annotator;
  if (!state.annotator) { $("who-name").focus(); return; }
  $("annotator").textContent = state.annotator;
  showTabs();
  await attempt(async () => {
    await refresh();
    // Resumes where something is left to do.
    const next = state.items.find((item) => !task().done(item)) ?? state.items[0];
    await open(next.id);
  });
}

$("who").addEventListener("submit", (event) => {
  event.preventDefault();
  state.annotator = $("who-name").value.trim();
  localStorage.setItem("annotator", state.annotator);
  start();
});
$("annotator").addEventListener("click", () => {
  if (!mayLeave()) return;
  stage.reset([]);
  $("who-name").value = "";
  state.annotator = "";
  start();
});
$("previous").onclick = () => go(-1);
$("next").onclick = () => go(1);
$("undo").onclick = () => stage.undo();
$("redo").onclick = () => stage.redo();
$("zoom-in").onclick = () => stage.zoomBy(1.5);
$("zoom-out").onclick = () => stage.zoomBy(1 / 1.5);
$("zoom-level").onclick = () => stage.whole();
$("help-button").onclick = () => $("help").showModal();
window.addEventListener("beforeunload", (event) => { if (task().unsaved?.()) event.preventDefault(); });
document.addEventListener("keydown", (event) => {
  if ($("app").hidden || $("help").open) return;
  const typing = /^(INPUT|TEXTAREA)$/.test(event.target.tagName), control = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (control && key === "enter") task().save?.();
  else if (control && !typing && (key === "y" || (key === "z" && event.shiftKey))) stage.redo();
  else if (control && !typing && key === "z") stage.undo();
  else if (event.key === "PageUp") go(-1);
  else if (event.key === "PageDown") go(1);
  else if (typing || control || event.altKey) return;
  else if (key === "n") task().focus?.();
  else if (key === "x") task().absent?.();
  else if (key === "?") $("help").showModal();
  else return;
  event.preventDefault();
});
start();
