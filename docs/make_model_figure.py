"""Draw docs/images/model.png: a screenshot, its crops, and where nano looks, from a real forward pass.

python docs/make_model_figure.py [--seed 3] [--question 'the "Save" button']
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from molmo_agent.envs.sim_desktop import sample_screen
from molmo_agent.images import draw_points
from molmo_agent.model.crops import resize_and_pad, token_grid
from molmo_agent.model.prompts import role_prompt
from molmo_agent.pointers.nano import load_nano

FONT = Path(__file__).parents[1] / "molmo_agent" / "envs" / "drawing" / "font_files" / "noto_sans.ttf"


def attention(pointer: Any, image: np.ndarray, question: str, layer: int = 2) -> np.ndarray:
    """Return (rows, columns) of the canvas's image tokens: how much the first head of a layer looks at each."""
    answer_begins = ' <point x="'
    ids, arrays = pointer.processor.encode(
        image, role_prompt(pointer.profile.question.format(question)) + answer_begins
    )
    model = pointer.model
    before = model.model.language_model.config._attn_implementation
    model.set_attn_implementation("eager")
    inputs = {name: torch.from_numpy(array)[None] for name, array in arrays.items()}
    with torch.inference_mode():
        seen = model(input_ids=torch.tensor([ids]), **inputs, output_attentions=True).attentions[layer][0, 0, -1]
    model.set_attn_implementation(before)
    layout, grid = pointer.processor.image_processor.grid_of(*image.shape[:2])
    rows, columns = token_grid(grid, layout)
    side = layout.pooled_side
    base = 1 + 1 + side * (side + 1) + 1 + 1
    row, column = np.divmod(np.arange(rows * columns), columns)
    return seen.numpy()[base + row * (columns + 1) + column].reshape(rows, columns)


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--question", help="default: a button of the screen")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "model.png")
    arguments = parser.parse_args()
    pointer = load_nano()
    screen = sample_screen(arguments.seed, width=640, height=480, style="form")
    buttons = [element.label for element in screen.elements if element.kind == "button" and element.text]
    question = arguments.question or f'the "{buttons[0]}" button'
    layout, grid = pointer.processor.image_processor.grid_of(480, 640)

    fitted, _ = resize_and_pad(torch.tensor(screen.image), layout.canvas(grid), fast=True)
    canvas = Image.fromarray(fitted.numpy())
    seen = canvas.copy()
    crop = canvas.crop((layout.window_px, 0, layout.window_px + layout.crop_size, layout.crop_size))
    pen = ImageDraw.Draw(canvas)
    for i in range(grid[0]):
        for j in range(grid[1]):
            left, top = j * layout.window_px, i * layout.window_px
            color = f"hsl({(i * grid[1] + j) * 360 // (grid[0] * grid[1])}, 90%, 45%)"
            box = [left + 1, top + 1, left + layout.crop_size - 2, top + layout.crop_size - 2]
            pen.rectangle(box, outline=color, width=2)

    looks = attention(pointer, screen.image, question)
    heat = Image.fromarray((looks / looks.max() * 200).astype(np.uint8)).resize(canvas.size, Image.Resampling.NEAREST)
    seen.paste((230, 0, 92), mask=heat)
    result = pointer.point(screen.image, question)
    answered = draw_points(screen.image, [p.point for p in result.points])

    width, height, gap, line = 420, 322, 16, 26
    sheet = Image.new("RGB", (2 * width + 3 * gap, 2 * (height + line) + 3 * gap), "white")
    font, pen = ImageFont.truetype(FONT, 15), ImageDraw.Draw(sheet)
    parts = (
        (canvas, f"The canvas: {grid[0]} x {grid[1]} overlapping crops of {layout.crop_size} px"),
        (crop, f"One crop: {layout.side} x {layout.side} patches of {layout.patch_size} px"),
        (seen, f"Where nano looks, asked for {question}"),
        (answered, result.reply.strip()),
    )
    for number, (picture, caption) in enumerate(parts):
        x, y = gap + number % 2 * (width + gap), gap + number // 2 * (height + line + gap)
        shown = picture.copy()
        scale = min(width / shown.width, height / shown.height)
        shown = shown.resize((round(shown.width * scale), round(shown.height * scale)), Image.Resampling.LANCZOS)
        sheet.paste(shown, (x + (width - shown.width) // 2, y))
        while font.getlength(caption) > width:
            caption = caption[:-2] + "…"
        pen.text((x, y + height + 4), caption, fill=(40, 40, 44), font=font)
    sheet.save(arguments.out, optimize=True)
    print(f"wrote {arguments.out}: {question} -> {result.status} {result.reply.strip()}")


if __name__ == "__main__":
    main()
