"""Where the pixels of a training lie: in memory, or in a scratch file (docs/decisions/0035).

It changes no weight, so it stands in no key: not in those of results, checkpoints or searches. It
reaches the process that trains by the environment and the job.
"""

from __future__ import annotations

from trainer.host.memory import Room
from trainer.host.text import size

# Set by a run for the training that it starts.
VARIABLE = "TFX_MNIST_INPUT"

AUTO, MEMORY, STREAM = "auto", "memory", "stream"
CHOICES = (AUTO, MEMORY, STREAM)

_SHARE = 2  # the other half is for TensorFlow, the network, its batches and other processes


def choose(asked: str, num_bytes: int, room: Room, *, processes: int = 1) -> tuple[str, str]:
    """Returns `MEMORY` or `STREAM`, and the line that says why.

    Args:
      asked: one of `CHOICES`.
      num_bytes: of pixels and labels, decoded.
      room: the memory in which they would have to lie.
      processes: how many such processes there are on this machine.
    """
    if asked != AUTO:
        return asked, f"input: {asked}, as training.input says"
    fits = num_bytes * processes * _SHARE <= room.num_bytes
    of_all = f" times {processes} processes" if processes > 1 else ""
    return (
        MEMORY if fits else STREAM,
        f"input: {MEMORY if fits else STREAM}, because {size(num_bytes)} of decoded images{of_all} "
        f"{'fit into' if fits else 'exceed'} half of the {size(room.num_bytes)} that {room.where} "
        "has left",
    )
