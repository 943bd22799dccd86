"""Quantiles of W&B's published engine for every distribution, for `law_vectors.json`.

The engine pins numpy < 2, so it runs in an environment of its own:

    python -m venv engine && engine/bin/pip install sweeps==0.3.0
    engine/bin/python tests/tune/make_law_vectors.py tests/tune/law_vectors.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sweeps.params import HyperParameter

SPECS: tuple[dict[str, Any], ...] = (
    {"values": [3, 1, "x", None, 2.5]},
    {"values": ["a", "b", "c"], "probabilities": [0.2, 0.7, 0.1]},
    {"min": 3, "max": 9},
    {"min": -2, "max": 1, "distribution": "int_uniform"},
    {"min": 0.1, "max": 2},
    {"min": 1, "max": 9, "distribution": "uniform"},
    {"min": 0, "max": 10, "distribution": "q_uniform"},
    {"min": 0, "max": 17, "q": 5, "distribution": "q_uniform"},
    {"min": 0.0, "max": 1.0, "q": 0.25, "distribution": "q_uniform"},
    {"min": 0.00001, "max": 0.1, "distribution": "log_uniform_values"},
    {"min": 1, "max": 100, "q": 5, "distribution": "q_log_uniform_values"},
    {"min": 1, "max": 100, "q": 0.5, "distribution": "q_log_uniform_values"},
    {"min": 0.001, "max": 10, "distribution": "inv_log_uniform_values"},
    {"distribution": "normal"},
    {"mu": 3, "sigma": 0.5, "distribution": "normal"},
    {"mu": 3, "sigma": 5, "q": 2, "distribution": "q_normal"},
    {"mu": -1, "sigma": 0.5, "distribution": "log_normal"},
    {"mu": 2, "sigma": 1, "q": 3, "distribution": "q_log_normal"},
    {"distribution": "beta"},
    {"a": 2, "b": 5.5, "distribution": "beta"},
    {"a": 0.5, "b": 0.5, "q": 0.1, "distribution": "q_beta"},
)
SHARES = [float(share) for share in (np.arange(40) + 0.37) / 40]  # no round ones: there either side of a step is right


def main(path: str) -> None:
    cases = [
        {"spec": spec, "quantiles": [[u, HyperParameter("x", dict(spec)).ppf(u)] for u in SHARES]} for spec in SPECS
    ]
    plain = json.dumps(cases, default=lambda value: value.item(), separators=(",", ":"))
    Path(path).write_text(plain.replace('{"spec"', '\n{"spec"') + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
