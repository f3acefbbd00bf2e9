"""Write the corpora of binary formats: ``python tests/fuzz/make_files.py``.

Their bytes depend on the versions of the libraries that write them, so they are kept as files only.
"""

import gzip
import io
import struct
import sys
from pathlib import Path

import numpy as np
import PIL.Image

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from run import CORPUS, save  # noqa: E402

from molmo_agent.data.formats.tfrecord import crc32c, mask_crc  # noqa: E402


def images() -> list[bytes]:
    """Small images of every format."""
    rng = np.random.default_rng(1)
    noise = PIL.Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    files: list[tuple[PIL.Image.Image, str, dict[str, object]]] = [
        *((noise, form, {}) for form in ("JPEG", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000")),
        (noise.convert("P"), "GIF", {"transparency": 3}),
        (noise.convert("P"), "PNG", {"transparency": 3}),
        (noise, "JPEG", {"exif": turned, "progressive": True}),
        (noise, "PNG", {"exif": turned}),
        (PIL.Image.fromarray(rng.integers(0, 65535, (6, 8), np.uint16)), "PNG", {}),
        (PIL.Image.fromarray(rng.integers(0, 65535, (6, 8), np.uint16)), "TIFF", {}),
    ]
    contents = []
    for picture, form, options in files:
        out = io.BytesIO()
        picture.save(out, form, **options)
        contents.append(out.getvalue())
    return contents


def depths() -> list[bytes]:
    """Depth images of 16 and 8 bits."""
    contents = []
    for kind in (np.uint16, np.uint8):
        out = io.BytesIO()
        PIL.Image.fromarray((np.arange(48).reshape(6, 8) * 5).astype(kind)).save(out, "PNG")
        contents.append(out.getvalue())
    return contents


def tables() -> tuple[bytes, bytes]:
    """One small table, in Parquet and in Arrow."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"url": ["a", "b", None], "points": [[{"x": 1.0}], [], None]})
    parquet, stream = io.BytesIO(), io.BytesIO()
    pyarrow.parquet.write_table(table, parquet, write_statistics=False, store_schema=False)
    with pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return parquet.getvalue(), stream.getvalue()


def weights() -> bytes:
    """Two tensors in a safetensors file."""
    import torch
    from safetensors.torch import save as to_bytes

    return to_bytes({"a": torch.zeros(2, 3), "b": torch.ones(1, dtype=torch.bfloat16)})


def description() -> bytes:
    """The description of a checkpoint of one tensor."""
    import tempfile

    import torch
    from torch.distributed.checkpoint import save as write

    with tempfile.TemporaryDirectory() as folder:
        write({"a": torch.zeros(2, 3)}, checkpoint_id=folder, no_dist=True)
        return (Path(folder) / ".metadata").read_bytes()


def records(*payloads: bytes) -> bytes:
    """Payloads as TFRecord."""
    out = b""
    for payload in payloads:
        head = struct.pack("<Q", len(payload))
        out += head + struct.pack("<I", mask_crc(crc32c(head))) + payload + struct.pack("<I", mask_crc(crc32c(payload)))
    return out


def message(number: int, content: bytes | int) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def forest() -> bytes:
    """A window with one button."""
    bounds = b"".join(message(i + 1, edge) for i, edge in enumerate((10, 20, 300, 400)))
    node = message(2, bounds) + message(3, b"Button") + message(6, b"com.a") + message(7, b"OK") + message(23, 1)
    return message(1, message(11, message(1, node)))


def episode() -> bytes:
    """An episode of one step."""
    png = depths()[1]

    def feature(name: bytes, *values: bytes | int) -> bytes:
        kind = 3 if isinstance(values[0], int) else 1
        content = b"".join(message(1, value) for value in values)
        return message(1, message(1, name) + message(2, message(kind, content)))

    return message(
        1,
        feature(b"episode_id", 7)
        + feature(b"goal", b"press OK")
        + feature(b"screenshots", png, png)
        + feature(b"accessibility_trees", forest(), forest())
        + feature(b"actions", b'{"action_type": "click", "x": 3, "y": 4}')
        + feature(b"step_instructions", b"press OK"),
    )


def signal() -> bytes:
    """A signal of D-Bus, as a portal answers a request."""
    from jeepney import DBusAddress, new_signal

    streams = ("a(ua{sv})", [(5, {"size": ("(ii)", (3, 4))})])
    address = DBusAddress("/a/b", interface="a.b.c")
    return bytes(new_signal(address, "Response", "ua{sv}", (0, {"streams": streams})).serialise(serial=1))


def main() -> None:
    """Write every corpus."""
    parquet, stream = tables()
    whole = records(b"first", b"second " * 9, episode())
    for name, contents in {
        "image": images(),
        "depth-image": depths(),
        "parquet": [parquet],
        "arrow": [stream],
        "weights": [weights()],
        "run-tensors": [description()],
        "tfrecord": [whole, gzip.compress(whole, mtime=0), records()],
        "android-episode": [episode()],
        "accessibility-forest": [forest()],
        "phone-capture": [images()[0], depths()[1]],
        "dbus": [signal()],
    }.items():
        for data in contents:
            save(CORPUS / name, data)


if __name__ == "__main__":
    main()
