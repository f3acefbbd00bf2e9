"""What the page shows of a collection, as JSON: who has to do what, without what others answered."""

import io
from typing import Any

import PIL.Image

from molmo_agent.images.reading import open_image, read_image
from molmo_agent.parse import read_bounded
from molmo_agent.pixmo.collect.project import Item, Project
from molmo_agent.pixmo.points import label_key


def items_view(project: Project, annotator: str, proposals: Any) -> list[dict[str, Any]]:
    """Return the images with the number of names that this annotator did, has to do, and that are in dispute."""
    rows = []
    for item in project.items.values():
        answers = project.answers(item)
        mine = sum(annotator in by for by in answers.values())
        disputes = sum(project.verdict(item, key).points is None for key in answers)
        # Of what is only trained on, the detector's word is enough.
        has_to_be_counted = proposals.get(item.sha256, {}).get("split", "train") != "train"
        counted = True if project.answers(item, "count") else False if has_to_be_counted else None
        rows.append(
            {
                "id": item.sha256,
                "name": item.name,
                "mine": mine,
                "to_do": sum(annotator not in by and len(by) < 2 for by in answers.values()),
                "disputes": disputes,
                "counted": counted,
                "said": any(r["task"] == "cap" and r["item"] == item.sha256 for r in project.records),
            }
        )
    return rows


def item_view(project: Project, item: Item, annotator: str, proposals: Any) -> dict[str, Any]:
    """Return an image with this annotator's names, those of others to point blind, and the disputes with all sides."""
    mine, blind, disputes = [], [], []
    for key, answers in sorted(project.answers(item).items()):
        if annotator in answers:
            answer = answers[annotator]
            state = "alone" if len(answers) == 1 else "agreed"
            if project.verdict(item, key).points is None:
                state = "disputed"
            mine.append({"label": answer.label, "points": pairs(answer.points), "state": state})
        elif len(answers) < 2:
            blind.append(next(iter(answers.values())).label)
        if project.verdict(item, key).points is None:
            sides = {name: pairs(answer.points) for name, answer in answers.items()}
            disputes.append({"label": next(iter(answers.values())).label, "sides": sides})
    view: dict[str, Any] = {"id": item.sha256, "name": item.name, "size": item.size}
    view |= {"mine": mine, "blind": blind, "disputes": disputes, "count": None}
    if item.sha256 in proposals:
        proposal = proposals[item.sha256]
        key = label_key(proposal["label"])
        verified = project.answers(item, "count").get(key)
        points = project.verdict(item, key, "count").points if verified else None
        view["count"] = {
            "label": proposal["label"],
            "points": pairs(points) if points is not None else proposal["points"],
            "verified": sorted(verified or ()),
        }
    return view


def pairs(points: Any) -> list[list[float]]:
    """Return points as [x, y]."""
    return [[point.x, point.y] for point in points]


def image_file(item: Item) -> tuple[bytes, str]:
    """Return a file that every browser shows as this package reads it, and its media type.

    JPEG and PNG are sent unchanged. Of animations the first picture counts, so the page must not play them.
    """
    data = read_bounded(item.path)
    with open_image(io.BytesIO(data), item.name) as image:
        kind = image.format
        moves = getattr(image, "is_animated", False)
    if kind in ("JPEG", "MPO"):
        return data, "image/jpeg"
    if kind == "PNG" and not moves:
        return data, "image/png"
    out = io.BytesIO()
    PIL.Image.fromarray(read_image(data)).save(out, "PNG", compress_level=1)
    return out.getvalue(), "image/png"
