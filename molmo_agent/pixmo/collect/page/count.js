// Counts: a detector proposes a point for each object; a person confirms or mends them.
import { $, attempt, make, post, refresh, say, showItem, stage } from "./main.js";

let proposal = null, saved = "[]";
const current = () => JSON.stringify(stage.points);

export const count = {
  title: "Counts",
  badge: (item) => (item.counted === null ? ["\u2013", ""] : item.counted ? ["\u2713", "good"] : ["to verify", "todo"]),
  done: (item) => item.counted !== false,
  unsaved: () => proposal !== null && current() !== saved,
  changed() { if ($("total")) $("total").textContent = stage.points.length; },
  save() {
    if (!proposal) return;
    attempt(async () => {
      const total = stage.points.length, { label } = proposal;
      const item = await post("/api/points", { task: "count", label, points: stage.points });
      await refresh();
      showItem(item);
      say(`Verified ${label}: ${total}.`);
    });
  },
  show(item) {
    proposal = item.count;
    stage.editable = proposal !== null;
    stage.reset(proposal?.points ?? []);
    saved = current();
    if (!proposal) {
      $("panel").replaceChildren(make("p", { className: "muted" }, "No detector counted this image: see agent pixmo count."));
      return;
    }
    const by = proposal.verified.length ? `Verified by ${proposal.verified.join(", ")}.` : "Nobody verified this yet.";
    $("panel").replaceChildren(
      make("h2", {}, `How many: ${proposal.label}?`),
      make("p", { className: "timer", id: "total" }, String(stage.points.length)),
      make("p", { className: "muted" }, "One point on each. Add those that are missing, remove what is not one."),
      make("div", { className: "row" }, make("button", { id: "save", className: "primary", onclick: count.save, title: "Ctrl+Enter" }, "This is right")),
      make("p", { className: "muted" }, by));
    $("stage").focus({ preventScroll: true });
  },
};
