import io

import numpy as np
import PIL.Image
import pytest

from molmo_agent.errors import ImageError
from molmo_agent.geometry import Point
from molmo_agent.images import MARK, draw_points, filmstrip, read_image, with_caption, write_gif


def marked(image):
    return (np.asarray(image) == MARK).all(-1)


@pytest.mark.parametrize("point", [Point(0.5, 0.5), Point(0, 0), Point(1, 1)])
def test_a_crosshair_surrounds_its_point_and_leaves_it_visible(point):
    image = np.full((90, 160, 3), 40, np.uint8)
    marks = marked(draw_points(image, [point]))
    x, y = point.to_pixels(160, 90)
    rows, columns = np.nonzero(marks)
    assert len(rows)
    assert np.abs(rows - y).max() < 30
    assert np.abs(columns - x).max() < 30
    assert not marks[y, x]
    assert (image == 40).all(), "draw_points must not change its argument"


def test_several_points_are_numbered():
    image = np.full((200, 200, 3), 40, np.uint8)
    places = [Point(0.2, 0.5), Point(0.8, 0.5)]
    crosshairs = marked(draw_points(image, places[:1])) | marked(draw_points(image, places[1:]))
    assert (marked(draw_points(image, places)) & ~crosshairs).sum() > 10


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "I;16", "LA"])
def test_every_kind_of_image_is_read_as_rgb(tmp_path, mode, form):
    PIL.Image.new(mode, (7, 5)).save(tmp_path / "image", form)
    image = read_image(tmp_path / "image")
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8


def test_transparency_is_white_and_a_turned_photograph_is_upright(tmp_path):
    PIL.Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()
    photograph = PIL.Image.new("RGB", (8, 4))
    exif = photograph.getexif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    photograph.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (8, 4, 3)


def png(width=40, height=40):
    data = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a readable image"),
        (b"plain text", "is not a readable image"),
        (png()[:900], "is damaged"),
        (None, "there is no file"),
    ],
)
def test_an_unreadable_image_is_reported(tmp_path, data, message):
    if data is not None:
        (tmp_path / "image.png").write_bytes(data)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "image.png")


def test_a_folder_is_rejected(tmp_path):
    with pytest.raises(ImageError, match="got the folder"):
        read_image(tmp_path)


def test_an_image_of_absurd_size_is_rejected_before_it_is_unpacked(tmp_path):
    # A header alone, of 20,000 x 20,000 pixels: a bomb has no more to offer.
    PIL.Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    with pytest.raises(ImageError, match=r"at most 100,000,000 pixels, got more in .*huge\.png"):
        read_image(tmp_path / "huge.png")


def test_films_keep_every_frame(tmp_path):
    frames = [with_caption(PIL.Image.new("RGB", (80, 60), (n * 60, 0, 0)), f"step {n} " * 9, 100) for n in range(4)]
    assert {frame.size for frame in frames} == {(100, 75 + 28)}
    write_gif(frames, tmp_path / "film.gif", seconds=0.5)
    with PIL.Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 4
        assert film.info["duration"] == 500
    strip = filmstrip(frames, columns=3)
    assert strip.width == 3 * 108 + 8
    assert strip.height == 2 * 111 + 8


def test_a_small_thing_in_a_film_keeps_its_colour_among_large_surfaces(tmp_path):
    marks = {(100, 100): (255, 0, 255), (300, 50): (255, 120, 0), (200, 250): (0, 255, 0)}
    across, down = np.meshgrid(np.linspace(0, 200, 400), np.linspace(0, 200, 300))
    picture = np.dstack([across, down, np.full((300, 400), 90)]).astype(np.uint8)
    for (x, y), colour in marks.items():
        picture[y : y + 6, x : x + 6] = colour
    write_gif([PIL.Image.fromarray(picture)], tmp_path / "film.gif")
    with PIL.Image.open(tmp_path / "film.gif") as film:
        shown = np.asarray(film.convert("RGB")).astype(int)
    for (x, y), colour in marks.items():
        assert abs(shown[y + 3, x + 3] - colour).max() < 30
    assert abs(shown - picture).max(axis=2).mean() < 12


def test_captions_show_every_script_that_the_bundled_fonts_have():
    blank = PIL.Image.new("RGB", (200, 20))
    images = [
        np.asarray(with_caption(blank, text, 200))
        for text in ("Gru\ufffee", "Grüße", "Gr\ufffe\ufffee", "你好", "好你")
    ]
    assert len({image.tobytes() for image in images}) == len(images)
    missing = np.asarray(with_caption(blank, "\U0010fffe\U0010fffe", 200))
    assert not np.array_equal(images[3], missing)
