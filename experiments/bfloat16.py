"""What bf16 changes in the losses and metrics of the trainings of `dsgkd grid experiments/bfloat16.toml`, training by training.

python3 experiments/bfloat16.py
"""

import json
from pathlib import Path
from statistics import mean, median, stdev

RUNS = Path("runs/bfloat16/all")
METRICS = ["auroc", "log_loss", "brier", "f1_at_half"]
LOSSES = {"history.jsonl": ["prediction"], "teaching.jsonl": ["hidden", "attention"]}


def metrics(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text())["metrics"]


def losses(run: Path, file: str, loss: str) -> list[float]:
    """One number a step."""
    steps = [json.loads(line) for line in (run / file).read_text().splitlines()]
    return [step[loss] for step in steps if loss in step]


for arm in ["DSG-KD", "student alone mean"]:
    pairs = [(run, RUNS / f"{arm} bfloat16" / run.relative_to(RUNS / arm)) for run in sorted(RUNS.glob(f"{arm}/seed-*/fold-*"))]
    for metric in METRICS:
        one, other = ([metrics(run)[metric] for run in runs] for runs in zip(*pairs))
        changes = [b - a for a, b in zip(one, other)]
        print(f"{arm}\t{metric}\t{mean(one):.4f}\t{mean(other):.4f}\t{mean(changes):+.4f} ± {stdev(changes):.4f}\tof {len(pairs)} trainings")
    for file, names in LOSSES.items():
        for loss in names:
            steps, ends = [], []
            for one, other in ((losses(a, file, loss), losses(b, file, loss)) for a, b in pairs if (a / file).exists()):
                steps += [abs(b - a) / a for a, b in zip(one, other)]
                last = len(one) // 4
                ends.append((mean(one[-last:]), mean(other[-last:])))
            if ends:
                one, other = (mean(values) for values in zip(*ends))
                print(f"{arm}\tloss {loss}, last quarter\t{one:.5f}\t{other:.5f}\t{100 * median(steps):.3f} % a step, median\tof {len(steps)} steps")
