"""What makes a step faster changes no number: the loss's own gradient, the blocks that are left out, the optimizer."""

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoConfig

from molmo_agent.model.vision_tower import build_tower, patch_features
from molmo_agent.train import losses
from molmo_agent.train.config import Optimizer
from molmo_agent.train.losses import response_loss
from molmo_agent.train.optim import set_step, tensors
from molmo_agent.train.step import clip, make_optimizer


def plain_loss(hidden: Any, head: Any, labels: Any, weights: Any, z_scale: float) -> tuple[Any, Any]:
    """The sums of cross-entropy and z-loss as the formulas say."""
    logits = hidden @ head.T
    partition = logits.logsumexp(-1)
    weights = weights.clamp(min=0) * (labels >= 0)
    entropy = partition - logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return (entropy * weights).sum(), (z_scale * partition.square() * weights).sum()


@pytest.mark.parametrize("chunk", [3, 7, 1000])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (2.0, 0.0), (0.0, 3.0), (0.5, -4.0)])
def test_loss_and_gradients_are_those_of_the_formulas(chunk: int, factors: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(chunk)
    hidden = torch.randn(2, 9, 8, generator=generator, dtype=torch.float64)
    head = torch.randn(31, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(-3, 31, (2, 9), generator=generator)
    weights = torch.rand(2, 9, generator=generator, dtype=torch.float64) - 0.2
    results = []
    for function in (response_loss, plain_loss):
        inputs = [value.clone().requires_grad_() for value in (hidden, head)]
        if function is response_loss:
            loss = response_loss(*inputs, labels, weights, chunk=chunk, z_scale=0.01)
            sums = loss.cross_entropy.sum(), loss.z.sum()
        else:
            sums = plain_loss(*inputs, labels, weights, 0.01)
        (factors[0] * sums[0] + factors[1] * sums[1]).backward()
        results.append([*sums, *(value.grad for value in inputs)])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain.to(ours.dtype), atol=1e-5, rtol=1e-5)


def test_the_logits_of_at_most_one_piece_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head = torch.randn(1, 50, 4), torch.randn(600, 4).requires_grad_()
    kept: list[int] = []
    labels = torch.zeros(1, 50, dtype=torch.long)

    def note(value: torch.Tensor) -> torch.Tensor:
        kept.append(value.numel())
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        response_loss(hidden, head, labels, torch.ones(1, 50), chunk=8)
    assert sum(1 for count in kept if count >= 2 * 600) == 1, "the last piece, of two positions"
    assert max(count for count in kept if count != head.numel()) <= 8 * 600
    assert losses.CHUNK >= 8


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("clip_vision_model", {"image_size": 56, "patch_size": 14}),
        ("siglip_vision_model", {"image_size": 60, "patch_size": 20}),
        ("dinov2", {"image_size": 42, "patch_size": 14}),
    ],
)
@pytest.mark.parametrize("layers", [(-1, -2), (-2, -4), (-3,), (-5, -4)])
def test_blocks_above_those_that_are_read_do_not_run(kind: str, sizes: dict[str, int], layers: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    blocks = {"num_hidden_layers": 4, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    tower: Any = build_tower(AutoConfig.for_model(kind, **blocks, **sizes)).eval()
    encoder = tower.encoder
    ran: list[int] = []
    for number, block in enumerate(encoder.layers if hasattr(encoder, "layers") else encoder.layer):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    pixels = torch.randn(2, 3, sizes["image_size"], sizes["image_size"])
    features = patch_features(tower, pixels, layers)
    assert ran == list(range(5 + max(layers)))
    states = tower(pixels, output_hidden_states=True).hidden_states
    patches = (sizes["image_size"] // sizes["patch_size"]) ** 2
    assert torch.equal(features, torch.cat([states[layer] for layer in layers], -1)[:, -patches:])


class Parts(torch.nn.Module):
    """A weight of each component."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        for name in ("connector", "vision_tower", "language_model"):
            self.add_module(name, torch.nn.Linear(5, 4))


def test_the_fused_optimizer_is_adamw_and_resumes_with_its_step() -> None:
    ours, plain = Parts(), Parts()
    settings = Optimizer(weight_decay=0.1)
    fused = make_optimizer(ours, settings)
    loop = torch.optim.AdamW(
        [
            {
                **group,
                "params": [
                    dict(plain.named_parameters())[n] for n, p in ours.named_parameters() if p in set(group["params"])
                ],
            }
            for group in fused.param_groups
        ],
        betas=settings.betas,
        eps=settings.eps,
        foreach=False,
        fused=False,
    )
    for group in (*fused.param_groups, *loop.param_groups):
        group["fused"], group["lr"] = group in fused.param_groups, 1e-2
    assert fused.defaults["fused"]
    resumed = copy.deepcopy(ours)
    again = make_optimizer(resumed, settings)
    tensors(resumed, [again])
    set_step([again], 7)
    assert {float(state["step"]) for state in again.state.values()} == {7.0}
    for _ in range(3):
        for model, optimizer in ((ours, fused), (plain, loop)):
            optimizer.zero_grad()
            x = torch.ones(2, 5)
            sum(part(x).square().sum() for part in model.children()).backward()
            optimizer.step()
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_norms_are_added_up_in_double_precision() -> None:
    model = Parts()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3e-4)
    norms = clip(model, 1.0)
    expected = (sum(p.grad.double().square().sum() for p in model.language_model.parameters())) ** 0.5
    assert norms["llm"] == pytest.approx(float(expected), rel=1e-12)
    assert F.l1_loss(model.connector.weight.grad, torch.full((4, 5), 3e-4)) == 0, "below the limit, nothing is scaled"
