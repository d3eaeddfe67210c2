"""Compares the losses of two runs step by step: compare_losses.py OURS THEIRS [STEPS].

Both files have one JSON object a line; lines without losses (dsgkd's validations) are passed over.
"""

import json
import sys
from pathlib import Path

LOSSES = ["hidden", "attention", "prediction", "total", "grad_norm"]


def read_steps(path: Path) -> list[dict[str, float]]:
    lines = map(json.loads, path.read_text().splitlines())
    return [line for line in lines if "total" in line]


def differences(ours: Path, theirs: Path, steps: int | None = None) -> tuple[int, dict[str, float]]:
    """The number of steps that both have (at most `steps`), and the greatest relative difference of each loss."""
    pairs = list(zip(read_steps(ours), read_steps(theirs), strict=False))[:steps]
    return len(pairs), {
        loss: max(abs(one[loss] - other[loss]) / abs(other[loss]) for one, other in pairs) for loss in LOSSES
    }


def main() -> None:
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else None
    compared, found = differences(Path(sys.argv[1]), Path(sys.argv[2]), steps)
    print(f"{compared} steps:", ", ".join(f"{loss} {value:.1e}" for loss, value in found.items()))


if __name__ == "__main__":
    main()
