"""Writes diagrams in Mermaid's language by rule."""

from collections.abc import Callable
from typing import Any

import numpy as np

from molmo_agent.pixmo.docs.document import Asked, Document
from molmo_agent.pixmo.docs.pages import make_table
from molmo_agent.pixmo.docs.questions import plural
from molmo_agent.pixmo.docs.table import Query, Table, answer

_Rng = np.random.Generator
_Words = dict[str, Any]
_THEMES = ("default", "neutral", "forest", "base")
_STATES = ("Idle", "Queued", "Running", "Paused", "Failed", "Waiting", "Checking", "Closed", "Ready", "Locked")
_CLASSES = ("Order", "Customer", "Invoice", "Parcel", "Payment", "Account", "Report", "Sensor", "Device", "Ticket")
_FIELDS = ("id", "name", "price", "date", "status", "weight", "owner", "total", "address", "code")
_LINKS = ("has", "sends", "uses", "lists", "owns", "covers")


def mermaid_kinds() -> tuple[str, ...]:
    """Return the kinds of diagrams."""
    return tuple(_KINDS)


def write_diagram(rng: _Rng, type_: str, kind: str, who: str, words: _Words) -> Document:
    """Write a diagram of one kind, the same for the same state of ``rng``."""
    make, draw, ask = _KINDS[kind]
    table = make(rng, words)
    code = f"%%{{init: {{'theme': '{_pick(rng, _THEMES)}'}}}}%%\n" + "\n".join(draw(rng, table))
    asked = {question: query for question, query in ask(rng, table)}
    questions = []
    for question, query in asked.items():
        try:
            questions.append(Asked(question, query, answer(table, query)))
        except ValueError:
            # Two rows share the extreme value: there is no one answer.
            continue
    name = kind.removeprefix("mermaid-").replace("-", " ")
    return Document(type_, kind, "mermaid", f"a {name}: {table.title}", who, code, table, tuple(questions))


def _pick(rng: _Rng, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _some(rng: _Rng, options: Any, low: int, high: int) -> tuple[Any, ...]:
    count = int(rng.integers(low, min(high, len(options)) + 1))
    return tuple(options[int(i)] for i in rng.permutation(len(options))[:count])


def _pairs(rng: _Rng, keys: tuple[str, ...], most: int = 3) -> list[str]:
    return [keys[int(i)] for i in rng.permutation(len(keys))[:most]]


_Asks = list[tuple[str, Query]]


def _rows(table: Table) -> tuple[str, Query]:
    return f"How many {plural(table.key)} does the diagram show?", Query("rows")


# Flow charts.


def _flow_table(rng: _Rng, words: _Words) -> Table:
    return make_table(rng, "flow-chart", words)


def _draw_flow(rng: _Rng, table: Table) -> list[str]:
    opened, closed = _pick(rng, (("[", "]"), ("(", ")"), ("([", "])"), ("{{", "}}"), ("[/", "/]")))
    lines = [f"flowchart {_pick(rng, ('TD', 'LR', 'BT'))}" if len(table.keys) < 7 else "flowchart TD"]
    lines += [f'  n{i}{opened}"{key}"{closed}' for i, key in enumerate(table.keys)]
    return lines + [f"  n{i} --> n{i + 1}" for i in range(len(table.keys) - 1)]


def _ask_flow(rng: _Rng, table: Table) -> _Asks:
    asks = [_rows(table)]
    for key in _pairs(rng, table.keys[:-1]):
        after = str(answer(table, Query("value", ("next", key))))
        asks.append((f"Which step follows {key}?", Query("value", ("next", key))))
        asks.append((f"Which step comes right before {after}?", Query("which", ("next", after))))
    return asks


# Sequence diagrams.


def _sequence_table(rng: _Rng, words: _Words) -> Table:
    people = _some(rng, words["roles"], 3, 4)
    messages = _some(rng, words["steps"], 4, 7)
    ends = [rng.permutation(len(people))[:2] for _ in messages]
    sender, receiver = (tuple(people[int(pair[i])] for pair in ends) for i in (0, 1))
    return Table("Messages", "message", messages, {"sender": sender, "receiver": receiver})


def _draw_sequence(rng: _Rng, table: Table) -> list[str]:
    people = list(dict.fromkeys([*table.columns["sender"], *table.columns["receiver"]]))
    arrow = _pick(rng, ("->>", "-->>", "-)"))
    lines = ["sequenceDiagram", *(["  autonumber"] if rng.random() < 0.4 else [])]
    lines += [f"  {_pick(rng, ('participant', 'actor'))} p{i} as {name}" for i, name in enumerate(people)]
    rows = zip(table.keys, table.columns["sender"], table.columns["receiver"], strict=True)
    return lines + [f"  p{people.index(one)}{arrow}p{people.index(other)}: {text}" for text, one, other in rows]


def _ask_sequence(rng: _Rng, table: Table) -> _Asks:
    asks = [_rows(table)]
    for message in _pairs(rng, table.keys):
        asks.append((f"Who sends the message '{message}'?", Query("value", ("sender", message))))
        asks.append((f"Who receives the message '{message}'?", Query("value", ("receiver", message))))
    who = str(_pick(rng, table.columns["sender"]))
    return [*asks, (f"How many messages does the {who} send?", Query("equal", ("sender", who)))]


# State diagrams.


def _state_table(rng: _Rng, words: _Words) -> Table:
    keys = _some(rng, _STATES, 4, 7)
    # Any state but itself comes next; the last one ends.
    after = [keys[int(_pick(rng, [j for j in range(len(keys)) if j != i]))] for i in range(len(keys) - 1)]
    # Each is reached from the one before it, unless it leads back.
    after = [keys[i + 1] if rng.random() < 0.7 else state for i, state in enumerate(after)]
    return Table("States", "state", keys, {"next": (*after, "end")})


def _draw_state(rng: _Rng, table: Table) -> list[str]:
    lines = ["stateDiagram-v2", *(["  direction LR"] if rng.random() < 0.4 and len(table.keys) < 6 else [])]
    lines.append(f"  [*] --> {table.keys[0]}")
    rows = zip(table.keys, table.columns["next"], strict=True)
    return lines + [f"  {key} --> {'[*]' if state == 'end' else state}" for key, state in rows]


def _ask_state(rng: _Rng, table: Table) -> _Asks:
    asks = [_rows(table)]
    for key in _pairs(rng, table.keys[:-1]):
        asks.append((f"Which state follows {key}?", Query("value", ("next", key))))
        asks.append((f"How many states lead to {key}, without the start?", Query("equal", ("next", key))))
    return asks


# Class diagrams.


def _class_table(rng: _Rng, words: _Words) -> Table:
    keys = _some(rng, _CLASSES, 3, 6)
    parents = ("none", *(keys[int(rng.integers(i))] for i in range(1, len(keys))))
    fields = tuple(int(count) for count in rng.integers(1, 6, len(keys)))
    return Table("Classes", "class", keys, {"parent": parents, "fields": fields})


def _draw_class(rng: _Rng, table: Table) -> list[str]:
    lines = ["classDiagram", f"  direction {_pick(rng, ('TB', 'LR'))}"]
    for key, parent, count in zip(table.keys, *table.columns.values(), strict=True):
        fields = _some(rng, _FIELDS, int(count), int(count))
        kinds = [_pick(rng, ("int", "string", "date", "float")) for _ in fields]
        lines += [f"  class {key} {{", *(f"    +{k} {field}" for k, field in zip(kinds, fields, strict=True)), "  }"]
        lines += [f"  {parent} <|-- {key}"] if parent in table.keys else []
    return lines


def _ask_class(rng: _Rng, table: Table) -> _Asks:
    asks = [_rows(table), ("Which class has the most fields?", Query("largest", ("fields",)))]
    for key in _pairs(rng, table.keys[1:]):
        parent = str(answer(table, Query("value", ("parent", key))))
        asks.append((f"Which class does {key} extend?", Query("value", ("parent", key))))
        asks.append((f"How many fields does the class {key} list?", Query("value", ("fields", key))))
        asks.append((f"How many classes extend {parent} directly?", Query("equal", ("parent", parent))))
    return asks


# Entities and their relations.


def _entity_table(rng: _Rng, words: _Words) -> Table:
    keys = _some(rng, _CLASSES, 3, 5)
    to = ("none", *(keys[int(rng.integers(i))] for i in range(1, len(keys))))
    names = ("none", *_some(rng, _LINKS, len(keys) - 1, len(keys) - 1))
    fields = tuple(int(count) for count in rng.integers(2, 5, len(keys)))
    return Table("Entities", "entity", keys, {"linked from": to, "relation": names, "attributes": fields})


def _draw_entity(rng: _Rng, table: Table) -> list[str]:
    lines = ["erDiagram"]
    for key, other, name, count in zip(table.keys, *table.columns.values(), strict=True):
        lines += [f"  {other} {_pick(rng, ('||--o{', '||--|{', '||--||'))} {key} : {name}"] if other != "none" else []
        fields = _some(rng, _FIELDS, int(count), int(count))
        lines += [f"  {key} {{", *(f"    {_pick(rng, ('int', 'string', 'date'))} {field}" for field in fields), "  }"]
    return lines


def _ask_entity(rng: _Rng, table: Table) -> _Asks:
    asks = [_rows(table), ("Which entity has the most attributes?", Query("largest", ("attributes",)))]
    for key in _pairs(rng, table.keys[1:], 2):
        name = str(answer(table, Query("value", ("relation", key))))
        asks.append((f"How many attributes does {key} have?", Query("value", ("attributes", key))))
        asks.append((f"What is the relation that leads to {key} called?", Query("value", ("relation", key))))
        asks.append((f"To which entity does the relation '{name}' lead?", Query("which", ("relation", name))))
    return asks


# Gantt charts.


def _plan_table(rng: _Rng, words: _Words) -> Table:
    tasks = tuple(words["tasks"][: int(rng.integers(4, 8))])
    days = tuple(int(n) * 2 for n in rng.choice(np.arange(2, 12), len(tasks), replace=False))
    starts = tuple(int(n) for n in np.sort(rng.choice(np.arange(0, 30, 3), len(tasks), replace=False)))
    return Table("Plan", "task", tasks, {"start day": starts, "days": days})


def _draw_plan(rng: _Rng, table: Table) -> list[str]:
    lines = ["gantt", f"  title {_pick(rng, ('Project plan', 'Work plan', 'Schedule'))}", "  dateFormat YYYY-MM-DD"]
    lines += ["  axisFormat %d %b", "  tickInterval 1week"]
    first = np.datetime64("2025-03-03") + int(rng.integers(200))
    rows = zip(table.keys, *table.columns.values(), strict=True)
    return lines + [f"  {key} :{first + int(start)}, {days}d" for key, start, days in rows]


def _ask_plan(rng: _Rng, table: Table) -> _Asks:
    one, other = _pairs(rng, table.keys, 2)
    return [
        ("How many tasks are in the plan?", Query("rows")),
        ("Which task takes the longest?", Query("largest", ("days",))),
        ("Which task takes the least time?", Query("smallest", ("days",))),
        ("Which task starts last?", Query("largest", ("start day",))),
        (f"Does {one} take longer than {other}?", Query("more", ("days", one, other))),
    ]


# Mind maps.


def _topic_table(rng: _Rng, words: _Words) -> Table:
    return make_table(rng, "tree", words)


def _draw_topics(rng: _Rng, table: Table) -> list[str]:
    lines = ["mindmap"]
    depths = {"nothing": 0}
    shapes = _pick(rng, (("[", "]"), ("(", ")"), ("", "")))
    for i, (key, parent) in enumerate(zip(table.keys, table.columns["parent"], strict=True)):
        depths[key] = depths[str(parent)] + 1
        opened, closed = ("((", "))") if i == 0 else shapes
        name = f"n{i}{opened}{key}{closed}" if opened else key
        lines.append("  " * depths[key] + name)
    return lines


def _ask_topics(rng: _Rng, table: Table) -> _Asks:
    asks = []
    for key in _pairs(rng, table.keys[1:]):
        parent = str(answer(table, Query("value", ("parent", key))))
        asks.append((f"To which branch does {key} belong?", Query("value", ("parent", key))))
        asks.append((f"How many branches leave {parent}?", Query("equal", ("parent", parent))))
    return asks


# Timelines.


def _history_table(rng: _Rng, words: _Words) -> Table:
    years = np.sort(rng.choice(np.arange(1950, 2025), int(rng.integers(3, 6)), replace=False))
    events = _some(rng, words["events"], len(years), len(years))
    return Table("History", "year", tuple(str(year) for year in years), {"event": events})


def _draw_history(rng: _Rng, table: Table) -> list[str]:
    lines = ["timeline", f"  title {_pick(rng, ('Our history', 'Milestones', 'How we grew'))}"]
    return lines + [f"  {year} : {event}" for year, event in zip(table.keys, table.columns["event"], strict=True)]


def _ask_history(rng: _Rng, table: Table) -> _Asks:
    asks = [("How many years does the timeline name?", Query("rows"))]
    for year in _pairs(rng, table.keys):
        event = str(answer(table, Query("value", ("event", year))))
        asks.append((f"What happened in {year}?", Query("value", ("event", year))))
        asks.append((f"In which year is '{event}' on the timeline?", Query("which", ("event", event))))
    return asks


_KINDS: dict[
    str,
    tuple[Callable[[_Rng, _Words], Table], Callable[[_Rng, Table], list[str]], Callable[[_Rng, Table], _Asks]],
] = {
    "mermaid-flow-chart": (_flow_table, _draw_flow, _ask_flow),
    "mermaid-sequence": (_sequence_table, _draw_sequence, _ask_sequence),
    "mermaid-state": (_state_table, _draw_state, _ask_state),
    "mermaid-class": (_class_table, _draw_class, _ask_class),
    "mermaid-entities": (_entity_table, _draw_entity, _ask_entity),
    "mermaid-gantt": (_plan_table, _draw_plan, _ask_plan),
    "mermaid-mind-map": (_topic_table, _draw_topics, _ask_topics),
    "mermaid-timeline": (_history_table, _draw_history, _ask_history),
}
