import numpy as np
import pytest

from molmo_agent.episode import Observation
from molmo_agent.geometry import Point
from molmo_agent.rollout.screen_changes import AT_ONCE, ScreenWatch, Settle, changed_cells, effect_of
from molmo_agent.transforms import ImageTransform

WIDTH, HEIGHT = 640, 480
MIDDLE = [Point(0.5, 0.5)]
CARET = (slice(10, 30), slice(100, 102))
CLOCK = (slice(460, 474), slice(590, 632))


def blank():
    return np.full((HEIGHT, WIDTH, 3), 200, np.uint8)


def painted(*places, base=None, value=0):
    image = (blank() if base is None else base).copy()
    for place in places:
        image[place] = value
    return image


class Screen:
    """A screen that shows what a function of the time draws; waiting is what makes the time pass."""

    def __init__(self, draw):
        self.now_s, self.draw, self.captures = 0.0, draw, 0

    def observe(self):
        self.captures += 1
        return Observation(self.draw(self.now_s), ImageTransform.identity(WIDTH, HEIGHT))

    def watch(self, **limits):
        settle = Settle(**limits)

        def sleep(seconds):
            self.now_s += seconds

        return ScreenWatch(self.observe, settle, clock=lambda: self.now_s, sleep=sleep)


@pytest.mark.parametrize("size", [(480, 640), (481, 647), (16, 16), (3, 5)])
def test_a_changed_pixel_marks_its_cell_and_no_other(size):
    rng = np.random.default_rng(1)
    before = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    for _ in range(20):
        y, x, channel = rng.integers(0, size[0]), rng.integers(0, size[1]), rng.integers(0, 3)
        after = before.copy()
        after[y, x, channel] ^= 1
        cells = changed_cells(before, after)
        assert cells.sum() == 1
        assert cells[y // 16, x // 16]
    assert not changed_cells(before, before).any()
    assert not changed_cells(before, before.copy()).any()


@pytest.mark.parametrize(
    ("points", "place", "effect"),
    [
        (MIDDLE, (slice(240, 241), slice(320, 321)), "changed"),
        (MIDDLE, (slice(200, 210), slice(260, 270)), "changed"),
        (MIDDLE, (slice(0, 100), slice(0, 100)), "changed_elsewhere"),
        (MIDDLE, (slice(0, 0), slice(0, 0)), "unchanged"),
        ([], (slice(0, 100), slice(0, 100)), "changed"),
        ([], (slice(0, 0), slice(0, 0)), "unchanged"),
        ([Point(0, 0), Point(1, 1)], (slice(470, 480), slice(630, 640)), "changed"),
    ],
)
def test_effects_by_place(points, place, effect):
    assert effect_of(points, blank(), painted(place)) == effect


def test_a_screen_of_another_size_has_changed():
    assert changed_cells(blank(), blank()[:100]) is None
    assert effect_of(MIDDLE, blank(), blank()[:100]) == "changed"


def drawn_in_pieces(*times_s, height=20):
    """A function of the time that draws one more piece at each of the given times."""
    stages = [painted((slice(100, 100 + height * n), slice(300, 400))) for n in range(len(times_s) + 1)]
    return lambda now_s: stages[sum(now_s >= time_s for time_s in times_s)]


def settled(screen, **limits):
    before = screen.observe()
    return screen.watch(**limits).settle(before.image, screen.observe())


def test_settling_waits_for_an_application_that_reacts_late_and_goes_on_drawing():
    screen = Screen(drawn_in_pieces(0.3, 0.32, 0.34, 0.6))
    last = settled(screen)
    assert np.array_equal(last.image, screen.draw(9))
    assert 0.95 <= screen.now_s < 1.1, "0.35 s after the last change"


def test_a_dialog_that_opens_after_the_highlight_of_its_button_is_waited_for():
    screen = Screen(drawn_in_pieces(0.02, 0.3))
    assert np.array_equal(settled(screen).image, screen.draw(9))


def test_after_a_large_change_the_screen_is_watched_for_longer():
    screen = Screen(drawn_in_pieces(0.02, 0.48, height=140))
    assert np.array_equal(settled(screen).image, screen.draw(9))
    screen = Screen(drawn_in_pieces(0.02, 0.48, height=10))
    assert not np.array_equal(settled(screen).image, screen.draw(9))


def test_after_waiting_no_reaction_is_waited_for():
    screen = Screen(lambda now_s: blank())
    first = screen.observe()
    screen.watch().settle(first.image, first, reacts=False)
    assert 0.35 <= screen.now_s < 0.45


def test_a_screen_that_does_not_react_is_waited_for_no_longer_than_the_reaction_limit():
    screen = Screen(lambda now_s: blank())
    first = screen.observe()
    screen.watch(reaction_s=0.5, interval_s=0.02).settle(first.image, first)
    assert 0.5 <= screen.now_s <= 0.56


@pytest.mark.parametrize(("drawn_at_s", "left_at_s"), [(0.03, 0.1), (9.0, 0.15)])
def test_a_highlight_under_the_pointer_is_waited_for_briefly(drawn_at_s, left_at_s):
    screen = Screen(drawn_in_pieces(drawn_at_s))
    before = screen.observe()
    last = screen.watch().hover(before.image, screen.observe())
    assert np.array_equal(last.image, screen.draw(screen.now_s))
    assert left_at_s - 0.03 <= screen.now_s <= left_at_s + 0.03


def test_a_screen_that_never_settles_is_left_at_the_limit():
    screen = Screen(lambda now_s: painted((slice(0, 200), slice(0, 200)), value=int(now_s * 1000) % 251))
    first = screen.observe()
    screen.watch(limit_s=1.0).settle(first.image, first)
    assert 1.0 <= screen.now_s < 1.1


def test_simulated_envs_cost_one_more_capture():
    screen = Screen(lambda now_s: blank())
    first = screen.observe()
    ScreenWatch(screen.observe, AT_ONCE).settle(first.image, first)
    assert screen.captures == 2


@pytest.mark.parametrize(("place", "period_s"), [(CARET, 0.53), (CLOCK, 1.0)])
def test_a_blinking_caret_or_a_clock_is_no_effect_of_a_click_elsewhere(place, period_s):
    def draw(now_s):
        return painted(place, value=int(now_s / period_s) % 2 * 90)

    screen = Screen(draw)
    watch = screen.watch()
    screen.now_s = period_s - 0.01
    before = screen.observe()
    screen.now_s += 0.02  # the caret blinks while the click is on its way
    effect, _ = watch.effect(MIDDLE, before.image, watch.settle(before.image, screen.observe()))
    assert effect == "unchanged"

    # It has been learnt: the next time nothing is watched.
    screen.now_s += period_s - screen.now_s % period_s - 0.01
    before = screen.observe()
    screen.now_s += 0.02
    after = screen.observe()
    captures = screen.captures
    assert watch.effect(MIDDLE, before.image, after)[0] == "unchanged"
    assert screen.captures == captures


def test_a_caret_seen_blinking_while_the_model_thought_needs_no_watching():
    watch = ScreenWatch(lambda: pytest.fail("nothing to watch"), Settle())
    watch.idle(blank(), painted(CARET))
    after = Observation(painted(CARET), ImageTransform.identity(WIDTH, HEIGHT))
    assert watch.effect(MIDDLE, blank(), after)[0] == "unchanged"


def test_a_small_true_effect_far_away_is_told_from_a_clock_and_watched_only_once():
    digits = [painted(), painted(CLOCK, value=10), painted(CLOCK, value=20)]
    pressed = 0
    screen = Screen(lambda now_s: digits[pressed])
    watch = screen.watch()
    before = screen.observe()
    pressed = 1
    assert watch.effect(MIDDLE, before.image, screen.observe())[0] == "changed_elsewhere"
    assert screen.now_s >= 1.0
    pressed = 2
    now_s = screen.now_s
    assert watch.effect(MIDDLE, digits[1], screen.observe())[0] == "changed_elsewhere"
    assert screen.now_s == now_s


def test_a_page_that_came_late_does_not_blind_its_place():
    screen = Screen(lambda now_s: blank())
    watch = screen.watch(watch_s=0.0)
    big = (slice(100, 400), slice(100, 500))
    watch.idle(blank(), painted(big))
    after = Observation(painted(big, value=90), ImageTransform.identity(WIDTH, HEIGHT))
    assert watch.effect(MIDDLE, painted(big), after)[0] == "changed"


def test_limits_must_be_seconds():
    with pytest.raises(ValueError, match="reaction_s must be a number of seconds >= 0, got -1"):
        Settle(reaction_s=-1)


def test_typing_at_a_blinking_caret_is_an_effect():
    letter = painted(CARET, (slice(14, 26), slice(104, 110)))
    cells = changed_cells(blank(), painted(CARET))
    assert effect_of([], blank(), letter, cells) == "changed"
    assert effect_of([Point(110 / WIDTH, 20 / HEIGHT)], blank(), letter, cells) == "changed"


FIELD = [Point(0.5, 0.5)]
LEFT_END, TOP_LEFT = (slice(236, 244), slice(10, 40)), (slice(10, 20), slice(10, 40))


@pytest.mark.parametrize(
    ("clicked", "text", "effect"),
    [
        ((), LEFT_END, "changed"),
        ((), TOP_LEFT, "changed_elsewhere"),
        # The click showed the caret in the corner of a large text area.
        (((slice(8, 24), slice(8, 10)),), TOP_LEFT, "changed"),
        (((slice(236, 252), slice(300, 302)),), TOP_LEFT, "changed_elsewhere"),
        ((), (slice(0, 0), slice(0, 0)), "unchanged"),
    ],
)
def test_text_counts_in_the_rows_of_its_field_and_where_the_click_showed_the_caret(clicked, text, effect):
    stages = [blank(), painted(*clicked), painted(*clicked, text)]
    watch = ScreenWatch(lambda: pytest.fail("nothing to watch"), Settle(watch_s=0))
    after = [Observation(image, ImageTransform.identity(WIDTH, HEIGHT)) for image in stages]
    watch.effect(FIELD, stages[0], after[1])
    assert watch.effect(FIELD, stages[1], after[2], is_text=True)[0] == effect
