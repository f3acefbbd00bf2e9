// Points: name something, point at every instance of it. Names of others are pointed at blind; disputes are settled.
import { $, attempt, make, post, refresh, say, showItem, stage, state } from "./main.js";

const COLOURS = ["#0b62d6", "#f58231", "#3cb44b", "#911eb4", "#46c2c2"];
let dispute = null, saved = "";
const current = () => JSON.stringify(stage.points);

async function store(points) {
  const label = $("label").value.trim();
  if (!label) { say("Give a name to what you point at first.", true); $("label").focus(); return; }
  await attempt(async () => {
    const settled = dispute !== null && dispute.label === label;
    const item = await post("/api/points", { label, points, settled });
    await refresh();
    showItem(item);
    say(points.length ? `Saved ${label}: ${points.length}.` : `Saved ${label}: not there.`);
    $("label").focus();
  });
}

function edit(label, shown = [], others = []) {
  $("label").value = label;
  stage.reset(shown, others);
  saved = current();
  points.changed();
  (label ? $("stage") : $("label")).focus();
}

function settle(one) {
  dispute = one;
  edit(one.label, [], Object.values(one.sides).map((side, i) => ({ colour: COLOURS[i % COLOURS.length], points: side })));
  const legend = Object.entries(one.sides).map(([name, side], i) =>
    make("div", {}, make("span", { className: "key", id: `key-${i}` }),
      `${name}: ${side.length || "not there"} `,
      make("button", { className: "link", onclick: () => { if (side.length) stage.change(side.map((point) => [...point])); else store([]); } }, "take these")));
  legend.forEach((line, i) => { line.firstChild.style.background = COLOURS[i % COLOURS.length]; });
  $("legend").replaceChildren(make("p", {}, `Who is right about \u201c${one.label}\u201d? Take one side, or point anew, and save.`), ...legend);
}

const section = (title, lines) =>
  lines.length ? [make("div", { className: "block" }, make("h2", {}, title), make("ul", { className: "names" }, ...lines))] : [];

export const points = {
  title: "Points",
  badge(item) {
    if (item.disputes) return [`${item.disputes} disputed`, "warn"];
    if (item.to_do) return [`${item.to_do} to point`, "todo"];
    return item.mine ? [`${item.mine} \u2713`, "good"] : ["new", ""];
  },
  done: (item) => item.mine > 0 && !item.to_do && !item.disputes,
  unsaved: () => stage.points.length > 0 && current() !== saved,
  focus: () => $("label")?.focus(),
  save: () => (stage.points.length ? store(stage.points) : say("Point at each instance, or press Not there.", true)),
  absent() {
    if (stage.points.length) say("There are points on the image: undo them first.", true);
    else store([]);
  },
  changed() {
    if (!$("number")) return;
    $("number").textContent = stage.points.length;
    $("absent").disabled = stage.points.length > 0;
    $("save").disabled = !stage.points.length;
  },
  show(item) {
    dispute = null;
    stage.editable = true;
    const STATES = { alone: ["1 person", ""], agreed: ["agreed", "good"], disputed: ["disputed", "warn"] };
    const mine = item.mine.map((one) =>
      make("li", {},
        make("button", { className: "link label", onclick: () => edit(one.label, one.points) }, one.label),
        make("span", { className: "badge" }, one.points.length || "not there"),
        make("span", { className: `badge ${STATES[one.state][1]}` }, STATES[one.state][0]),
        make("button", { className: "link", title: `Delete ${one.label}`, onclick: () => attempt(async () => {
          showItem(await post("/api/points/delete", { label: one.label }));
          await refresh();
          say(`Deleted ${one.label}.`);
        }) }, "\u00d7")));
    const blind = item.blind.map((label) =>
      make("li", {}, make("button", { className: "link label", onclick: () => edit(label) }, label)));
    const disputes = item.disputes.map((one) =>
      make("li", {}, make("button", { className: "link label", onclick: () => settle(one) }, one.label)));
    const label = make("input", { id: "label", maxLength: 200, autocomplete: "off", placeholder: "red mugs on the shelf",
      onkeydown: (event) => { if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) { event.preventDefault(); event.stopPropagation(); $("stage").focus(); } } });
    $("panel").replaceChildren(
      make("div", { className: "block" },
        make("h2", {}, "What do you point at?"), label,
        make("p", { className: "muted" }, "Point at every instance. Points: ", make("strong", { id: "number" }, "0")),
        make("div", { id: "legend" }),
        make("div", { className: "row" },
          make("button", { id: "save", className: "primary", onclick: points.save, title: "Ctrl+Enter" }, "Save"),
          make("button", { id: "absent", onclick: points.absent, title: "X" }, "Not there"))),
      ...section("Disputed: settle", disputes),
      ...section("Named by others: point without seeing theirs", blind),
      ...section("Your names", mine));
    stage.reset([]);
    saved = current();
    points.changed();
    label.focus({ preventScroll: true });
  },
};
