"""Which match an annotator sees next, and which model is shown as A: deterministic for a seed."""

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from molmo_agent.evaluation.human.study import Study, StudyQuestion
from molmo_agent.evaluation.human.votes import Vote


@dataclass(frozen=True, slots=True)
class Match:
    """One question with the replies of two models."""

    question: StudyQuestion
    first: str
    second: str

    @property
    def key(self) -> tuple[str, str, str]:
        """See :attr:`Vote.match`."""
        return self.question.id, self.first, self.second


class Schedule:
    """Hands out matches: those with the fewest votes first, each annotator at most once.

    Every beginning of the order is balanced: pairs of models and categories have equally many matches, as far as the
    questions allow. So a study may be stopped at any time.

    Args:
        study: the questions and models.
        seed: of the order and of the sides.
        votes_per_match: number of annotators who see each match.
        per_pair: maximum number of matches of each pair of models; None uses every question.
    """

    def __init__(self, study: Study, *, seed: int, votes_per_match: int = 1, per_pair: int | None = None) -> None:
        self._seed, self._wanted = seed, votes_per_match
        self.matches = _balanced(study, seed, per_pair)
        self._number = {match.key: number for number, match in enumerate(self.matches)}
        self._votes: dict[int, dict[str, Vote]] = {number: {} for number in range(len(self.matches))}
        # Annotator -> the match on their page; it counts as a vote, so that two people do not judge it at once.
        self._open: dict[str, int] = {}
        self._history: dict[str, list[int]] = {}

    def add(self, votes: Iterable[Vote]) -> None:
        """Count votes; those on matches that are not part of the study are ignored."""
        for vote in votes:
            if (number := self._number.get(vote.match)) is not None:
                self._votes[number][vote.annotator] = vote
                history = self._history.setdefault(vote.annotator, [])
                if number not in history:
                    history.append(number)
                if self._open.get(vote.annotator) == number:
                    del self._open[vote.annotator]

    def next(self, annotator: str) -> int | None:
        """Return the number of the annotator's next match, the same until they vote; None if none is left."""
        if annotator not in self._open:
            on_pages = Counter(number for other, number in self._open.items() if other != annotator)
            able = [
                (len(votes) + on_pages[number], number)
                for number, votes in self._votes.items()
                if annotator not in votes and len(votes) + on_pages[number] < self._wanted
            ]
            if not able:
                return None
            self._open[annotator] = min(able)[1]
        return self._open[annotator]

    def previous(self, annotator: str) -> int | None:
        """Return the number of the match that the annotator voted on last; None if there is none."""
        history = self._history.get(annotator)
        return history[-1] if history else None

    def first_is_a(self, annotator: str, number: int) -> bool:
        """Return whether the first model of a match is shown as A; random, but the same at every call."""
        digest = hashlib.sha256(f"{self._seed}\0{annotator}\0{number}".encode()).digest()
        return digest[0] % 2 == 0

    def progress(self, annotator: str) -> Mapping[str, int]:
        """Return the numbers of the annotator's votes, of all votes, and of the votes wanted."""
        votes = sum(min(len(votes), self._wanted) for votes in self._votes.values())
        own = sum(annotator in votes for votes in self._votes.values())
        return {"own": own, "done": votes, "wanted": self._wanted * len(self.matches)}


def _balanced(study: Study, seed: int, per_pair: int | None) -> tuple[Match, ...]:
    """Return the matches so that every beginning has equally many of each pair and category."""
    draw = random.Random(seed)
    by_category: dict[str, list[StudyQuestion]] = {}
    for question in study.questions:
        by_category.setdefault(question.category, []).append(question)
    pairs = list(itertools.combinations(study.models, 2))
    matches: list[tuple[int, float, Match]] = []
    for first, second in pairs:
        order = []
        for questions in by_category.values():
            shuffled = draw.sample(questions, len(questions))
            order += [(rank, draw.random(), question) for rank, question in enumerate(shuffled)]
        order.sort(key=lambda one: one[:2])
        for position, (_, _, question) in enumerate(order[:per_pair]):
            matches.append((position, draw.random(), Match(question, first, second)))
    return tuple(match for _, _, match in sorted(matches, key=lambda one: one[:2]))
