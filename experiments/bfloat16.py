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
        float32, bfloat16 = ([metrics(run)[metric] for run in runs] for runs in zip(*pairs))
        changes = [b - a for a, b in zip(float32, bfloat16)]
        change = f"{mean(changes):+.4f} ± {stdev(changes):.4f}"
        print(f"{arm}\t{metric}\t{mean(float32):.4f}\t{mean(bfloat16):.4f}\t{change}\tof {len(pairs)} trainings")
    for file, names in LOSSES.items():
        for loss in names:
            steps, ends = [], []
            for pair in pairs:
                if not (pair[0] / file).exists():  # who hears no teacher has no losses of it
                    continue
                curves = [losses(run, file, loss) for run in pair]
                steps += [abs(b - a) / a for a, b in zip(*curves)]
                ends.append([mean(curve[-(len(curve) // 4) :]) for curve in curves])
            if ends:
                float32, bfloat16 = (mean(values) for values in zip(*ends))
                change = f"{100 * median(steps):.3f} % a step, median"
                print(f"{arm}\tloss {loss}, last quarter\t{float32:.5f}\t{bfloat16:.5f}\t{change}\tof {len(steps)} steps")
