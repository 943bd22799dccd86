"""All randomness of a run: every draw comes from (seed, generation, member, purpose).

No generator outlives its purpose, so nothing has to be saved to resume a run, and the order in which
members happen to finish can't change a number.
"""

import hashlib

import numpy as np

DRIVER = -1  # the member number of draws that belong to no member


def stream(seed: int, generation: int, member: int, purpose: str) -> np.random.Generator:
    """The random stream of one purpose; the same four values always give the same stream."""
    return np.random.default_rng(_entropy(seed, generation, member, purpose))


def torch_seed(seed: int, generation: int, member: int, purpose: str) -> int:
    """A 63-bit seed for `torch.Generator.manual_seed`, independent of `stream`'s draws."""
    return int(_entropy(seed, generation, member, f"torch:{purpose}")[0] >> 1)


def _entropy(seed: int, generation: int, member: int, purpose: str) -> list[int]:
    text = f"{seed}/{generation}/{member}/{purpose}"
    digest = hashlib.sha256(text.encode()).digest()
    return [int.from_bytes(digest[i : i + 8], "little") for i in range(0, 32, 8)]
