"""A second device for machines that have none: it computes on the CPU, and refuses to mix with it as a GPU would.

    python tests/far_device.py

Takes steps of both kinds of stages on the CPU and there, as the first of two ranks. Prints a JSON list of two objects:
"objectives" of each step, and "collectives", the devices where the tensors of collectives lay. Not a test module:
naming a device changes torch for the whole process.
"""

import json
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as name_device

from molmo_agent.nano.architecture import nano_processor, new_nano
from molmo_agent.nano.batches import balance, prepare_point, prepare_read
from molmo_agent.nano.curriculum import Stage
from molmo_agent.nano.curriculum_module import NanoWithHeads, add_gradients, make_optimizers
from molmo_agent.train.distributed import all_reduce_max

FAR = "far"
name_device(FAR)
# Name and device of the tensors of every collective.
COLLECTIVES: list[tuple[str, str]] = []


class FarTensor(torch.Tensor):
    """A tensor that says that it lies on the far device; to torch's own code it is on "meta", which has no memory."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "FarTensor":
        made: Any = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.size(), strides=near.stride(), dtype=near.dtype, device="meta", requires_grad=near.requires_grad
        )
        made.near = near
        return made  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device(FAR)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class FarDevice(TorchDispatchMode):
    """Sends what is made on the far device, or moved there, to :func:`compute`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the CPU.

    Raises:
        RuntimeError: its tensors lie on both devices.
    """
    flat, _ = tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    far = any(isinstance(value, FarTensor) for value in tensors)
    moves = func._schema.name in ("aten::_to_copy", "aten::copy_")
    # A single number may lie anywhere, and so may the indices of a choice.
    near = [value for value in tensors if not isinstance(value, FarTensor) and value.ndim]
    if func.namespace == "c10d":
        COLLECTIVES.extend((func._schema.name, FAR if isinstance(value, FarTensor) else "cpu") for value in tensors)
    if far and near and not moves and func._schema.name not in ("aten::index.Tensor", "aten::index"):
        raise RuntimeError(f"{func}: expected all tensors on one device, found far and cpu {[v.shape for v in near]}")
    target = kwargs.get("device")
    if target is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
        far = torch.device(target).type in (FAR, "meta")
    elif func._schema.name == "aten::copy_":
        far = isinstance(args[0], FarTensor)
    whole = {id(value.near): value for value in tensors if isinstance(value, FarTensor)}
    args, kwargs = tree_map_only(FarTensor, lambda value: value.near, (args, kwargs))
    result = func(*args, **kwargs)
    # What was changed in place is the tensor that it was.
    return tree_map_only(Tensor, lambda x: whole[id(x)] if id(x) in whole else FarTensor(x), result) if far else result


def steps(device: str) -> list[dict[str, float]]:
    """Take two steps of each kind on a device; return what they measured."""
    processor, found = nano_processor(), []
    nano = NanoWithHeads(new_nano(processor, 0)).train()
    nano.to(device)
    point = Stage(
        name="point", kind="point", steps=2, batch=1, sizes={"200x200": 1.0}, styles={"panel": 1.0}, max_questions=4
    )
    read = replace(point, name="read", kind="read", crops=1)
    for stage, batch in (
        (read, prepare_read(read, 0, 0, processor)),
        (point, prepare_point(point, 0, 0, processor)),
        (replace(point, vision_scale=0.0), prepare_point(point, 0, 1, processor)),
    ):
        optimizers = make_optimizers(nano, stage)
        if stage.kind == "point":
            balance(nano.model, nano.auxiliary_losses, batch)
        for _ in range(2):
            for optimizer in optimizers:
                optimizer.zero_grad()
            found.append(add_gradients(nano, stage, batch))
            torch.nn.utils.clip_grad_norm_([p for p in nano.parameters() if p.grad is not None], 1.0)
            for optimizer in optimizers:
                optimizer.step()
    assert all(parameter.device.type == device for parameter in nano.parameters())
    return found


def measure(device: str) -> dict[str, Any]:
    """Take the steps as the first of two ranks; the other's screens are nowhere."""
    COLLECTIVES.clear()
    # It exchanges nothing, on any device: what is asked of it is all that counts.
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        with FarDevice():
            objectives = steps(device)
            all_reduce_max(0)
    finally:
        dist.destroy_process_group()
    return {"objectives": objectives, "collectives": sorted({device for _, device in COLLECTIVES})}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([measure("cpu"), measure(FAR)]))
