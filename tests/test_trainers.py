"""transformers' Trainer trains the model that it was given: losses, parts of a batch, outputs as it expects them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import write_model
from transformers import Trainer, TrainingArguments

from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.prompts import role_prompt

# transformers warns about its own future.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
ANSWERS = (" a", " the red one is here", " b c d", " no", " e f", " it is the third of them")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(folder: Path) -> MolmoForConditionalGeneration:
    tiny: MolmoForConditionalGeneration = MolmoForConditionalGeneration.from_pretrained(folder)
    return tiny


@pytest.fixture(scope="module")
def processor(folder: Path) -> MolmoProcessor:
    read: MolmoProcessor = MolmoProcessor.from_pretrained(folder)
    return read


def collate(processor: MolmoProcessor, rows: list[dict[str, Any]], **options: Any) -> dict[str, torch.Tensor]:
    texts = [role_prompt(row["question"]) + row["answer"] for row in rows]
    batch = processor(images=[row["image"] for row in rows], text=texts, **options)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return {**batch, "labels": labels}


def collate_answers(processor: MolmoProcessor, rows: list[dict[str, Any]], side: str) -> dict[str, torch.Tensor]:
    """Only answers are targets, so that padding changes nothing."""
    batch = collate(processor, rows, padding_side=side)
    for labels, mask, row in zip(batch["labels"], batch["attention_mask"], rows, strict=True):
        last = int(mask.nonzero()[-1]) + 1
        first = last - len(processor.tokenizer(row["answer"], add_special_tokens=False)["input_ids"])
        labels[:first] = -100
    return batch


def examples() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {"image": rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), "question": f"{n}", "answer": answer}
        for n, answer in enumerate(ANSWERS)
    ]


def stepped(folder: Path, processor: MolmoProcessor, place: Path, size: int, parts: int, side: str) -> Any:
    """Train one step on all examples, in so many parts; return the loss and the weights."""
    arguments = TrainingArguments(
        output_dir=str(place),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=parts,
        max_steps=1,
        learning_rate=0.5,
        optim="sgd",
        lr_scheduler_type="constant",
        remove_unused_columns=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        disable_tqdm=True,
    )
    model = MolmoForConditionalGeneration.from_pretrained(folder)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=examples(),
        data_collator=lambda rows: collate_answers(processor, rows, side),
    )
    trainer.train()
    return trainer.state.log_history[0]["loss"], model.state_dict()


def test_a_batch_in_parts_is_the_whole_batch(folder, processor, tmp_path):
    loss, weights = stepped(folder, processor, tmp_path, 6, 1, "left")
    before = MolmoForConditionalGeneration.from_pretrained(folder).state_dict()
    assert any(not torch.equal(before[name], value) for name, value in weights.items())
    for size, parts, side in ((1, 6, "left"), (2, 3, "right")):
        other, trained = stepped(folder, processor, tmp_path, size, parts, side)
        assert other == pytest.approx(loss, abs=1e-4)
        for name, value in weights.items():
            torch.testing.assert_close(trained[name], value, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_loss_is_divided_by_what_the_trainer_counted(model, processor):
    batch = collate(processor, examples())
    shown = batch["labels"].clone()
    image_tokens = torch.isin(shown, torch.tensor(model.config.image_token_ids))
    count = int(((shown[:, 1:] >= 0) & ~image_tokens[:, 1:]).sum())
    mean = model(**batch).loss
    for items in (7, 100, torch.tensor(count)):
        torch.testing.assert_close(model(**batch, num_items_in_batch=items).loss, mean * count / items)


@torch.no_grad()
def test_image_tokens_and_negative_labels_are_no_targets(model, processor):
    batch = collate(processor, examples()[:2])
    image_tokens = torch.isin(batch["labels"], torch.tensor(model.config.image_token_ids))
    assert image_tokens.any()
    loss = model(**batch).loss
    for filler in (-100, -1):
        labels = batch["labels"].masked_fill(image_tokens | (batch["labels"] < 0), filler)
        torch.testing.assert_close(model(**{**batch, "labels": labels}).loss, loss)
    assert model(**{**batch, "labels": torch.full_like(batch["labels"], -100)}).loss == 0


@torch.no_grad()
def test_the_loss_of_the_last_logits_is_that_of_their_tokens(model, processor):
    batch = collate(processor, examples()[:1])
    for number in (2, 5):
        labels = batch["labels"].clone()
        labels[:, : -number + 1] = -100
        expected = model(**{**batch, "labels": labels}).loss
        torch.testing.assert_close(model(**batch, logits_to_keep=number).loss, expected)
        positions = torch.arange(labels.shape[1])[-number:]
        torch.testing.assert_close(model(**batch, logits_to_keep=positions).loss, expected)


@torch.no_grad()
def test_tuples_begin_with_the_loss(model, processor):
    batch = collate(processor, examples()[:2])
    named, plain = model(**batch), model(**batch, return_dict=False)
    assert isinstance(plain, tuple)
    assert torch.equal(plain[0], named.loss)
    assert torch.equal(plain[1], named.logits)
    inner = {name: value for name, value in batch.items() if name != "labels"}
    assert torch.equal(model.model(**inner, return_dict=False)[0], model.model(**inner).last_hidden_state)
    model.config.return_dict = False
    assert torch.equal(model(**batch)[0], named.loss)
    assert torch.equal(model(**inner)[0], named.logits)
    assert model(**batch, return_dict=True).loss == named.loss
    answer = model.generate(**processor(images=examples()[0]["image"], text=role_prompt("a")), max_new_tokens=2)
    assert answer.shape[0] == 1


def test_trl_trains_on_chats_with_pictures(folder, processor, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    rows = [
        {
            "images": [Image.fromarray(row["image"])],
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": row["question"]}]},
                {"role": "assistant", "content": [{"type": "text", "text": row["answer"]}]},
            ],
        }
        for row in examples()
    ]
    model = MolmoForConditionalGeneration.from_pretrained(folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = trl.SFTConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=3,
        max_length=None,
        report_to=[],
        use_cpu=True,
    )
    trainer = trl.SFTTrainer(
        model=model, args=settings, train_dataset=datasets.Dataset.from_list(rows), processing_class=processor
    )
    trainer.train()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
    assert any("connector" in name for name in moved), "the pictures were looked at"
