// Ask: a question, an answer by a model that does not see the image, and what is wrong with it, until it is right.
import { $, attempt, make, post, say, stage } from "./main.js";

let thread = null, places = {}, drafted = false;

function showPlaces() {
  const lines = Object.entries(places).map(([name, points]) =>
    make("li", {}, make("span", { className: "label" }, name), make("span", { className: "badge" }, points.length),
      make("button", { className: "link", title: `Remove ${name}`, onclick: () => { delete places[name]; showPlaces(); } }, "\u00d7")));
  $("places").replaceChildren(...lines);
}

function addPlace() {
  const name = $("place").value.trim();
  if (!name || !stage.points.length) { say("Point at the image and name what you point at.", true); return; }
  places[name] = stage.points;
  $("place").value = "";
  stage.reset([]);
  showPlaces();
}

function send(values) {
  say("Writing an answer\u2026");
  return attempt(async () => {
    const draft = await post("/api/ask", values);
    thread = draft.thread;
    drafted = true;
    $("answer").textContent = draft.answer;
    $("verdict").hidden = false;
    $("issue").value = "";
    say("Is this right?");
    $("accept").focus();
  });
}

export const ask = {
  title: "Ask",
  badge: () => ["", ""],
  done: () => false,
  unsaved: () => drafted,
  leave() { drafted = false; },
  save: () => (thread ? $("accept").click() : $("send").click()),
  focus: () => $("question")?.focus(),
  show(item) {
    thread = null;
    places = {};
    drafted = false;
    stage.editable = true;
    stage.reset([]);
    $("panel").replaceChildren(
      make("h2", {}, "Ask something about the image"),
      make("input", { id: "question", maxLength: 2000, autocomplete: "off", "aria-label": "Question", onkeydown: (event) => { if (event.key === "Enter" && !event.ctrlKey) $("send").click(); } }),
      make("details", {}, make("summary", {}, "Points for the answer"),
        make("p", { className: "muted" }, "Point at the image, name it, add it: the answer may refer to it."),
        make("div", { className: "row" }, make("input", { id: "place", maxLength: 200, "aria-label": "Name of the points" }), make("button", { id: "add-place", onclick: addPlace }, "Add")),
        make("ul", { className: "names", id: "places" })),
      make("div", { className: "row" }, make("button", { id: "send", className: "primary", onclick: () => send({ question: $("question").value, places }) }, "Ask")),
      make("div", { id: "verdict", hidden: true, className: "block" },
        make("h2", {}, "Answer"), make("div", { id: "answer", className: "answer" }),
        make("div", { className: "row" }, make("button", { id: "accept", className: "primary", onclick: () => attempt(async () => {
          await post("/api/ask/accept", { thread });
          ask.show(item);
          say("Saved question and answer.");
        }) }, "Right: save")),
        make("p", { className: "muted" }, "Or what is wrong with it?"),
        make("input", { id: "issue", maxLength: 2000, "aria-label": "What is wrong", autocomplete: "off", onkeydown: (event) => { if (event.key === "Enter" && !event.ctrlKey) $("reject").click(); } }),
        make("div", { className: "row" }, make("button", { id: "reject", onclick: () => send({ thread, issue: $("issue").value }) }, "Reject and ask again"))));
    $("question").focus({ preventScroll: true });
  },
};
