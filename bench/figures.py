"""All figures: dsgkd and PyTorch in turn, in one go, on the same machine and threads; see README.md.

Prints `name<TAB>ours<TAB>peer<TAB>ratio<TAB>bar` a figure, what else was seen on standard error, and ends with 1 when a ratio misses
its bar. Times are medians in milliseconds unless the name says otherwise.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BINARIES = ROOT / "target" / "release"
WORK = ROOT / "target" / "bench" / "work"
WHOLE_RUN = HERE / "whole_run"
THREADS = {"RAYON_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
# PyTorch takes and returns its buffers at every step; glibc shall keep them.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(8 << 30)}
# Whoever measures for longer than this a side meets less noise, but no other ratio.
SECONDS_A_SIDE = 15
LEAST_STEPS = 5
# Whoever's turn it is steps for so long: after a pause a machine is slow for some hundredths of a second, which is a whole step of a small model.
SECONDS_A_TURN = 0.3
# transformers' default, and the faster one in bf16 (a Zen 5). Where attention is computed, the peer is the better of the two.
ATTENTIONS = ("sdpa", "eager")


class Bar(NamedTuple):
    """What a ratio must lie between; none: the figure is for the reader."""

    low: float | None = None
    high: float | None = None

    def holds(self, ratio: float) -> bool:
        return (self.low is None or ratio >= self.low) and (self.high is None or ratio <= self.high)

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f">= {self.low:g}" if self.low is not None else f"<= {self.high:g}" if self.high is not None else "-"


class Worker:
    """A process that computes one step for every line it is sent."""

    def __init__(self, peer: bool, *settings: str, environment: dict[str, str] = KEEP_MEMORY) -> None:
        command = [sys.executable, str(HERE / "peer" / "worker.py")] if peer else [str(BINARIES / "dsgkd-bench"), "worker"]
        self.name = f"{'peer' if peer else 'ours'} {' '.join(settings)}"
        self.process = subprocess.Popen(
            [*command, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | THREADS | (environment if peer else {}),
        )
        self.milliseconds: list[float] = []
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{' '.join(command)} did not begin")

    def step(self) -> float:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def turn(self) -> None:
        """Steps in a row, of which the first does not count where there are several."""
        # OpenMP's threads spin for a while after their work; the other side shall not pay for that.
        time.sleep(0.02)
        started, steps = time.monotonic(), [self.step()]
        while time.monotonic() - started < SECONDS_A_TURN:
            steps.append(self.step())
        self.milliseconds += steps[1:] or steps

    def peak_mib(self) -> float:
        """Ends the process."""
        self.process.stdin.close()
        peak = float(self.process.stdout.readline())
        self.process.wait()
        return peak


def workers_of(peer: bool, mode: str, model: str, dtype: str) -> list[Worker]:
    """The workers of a side, of which the fastest counts."""
    if not peer:
        return [Worker(peer, mode, model, dtype)]
    return [Worker(peer, mode, model, dtype, attention) for attention in (ATTENTIONS[:1] if mode == "products" else ATTENTIONS)]


def side_by_side(*sides: tuple[bool, str, str, str]) -> list[tuple[float, float]]:
    """Median milliseconds and peak MiB of sides that step in turn."""
    teams = [workers_of(*side) for side in sides]
    workers = [worker for team in teams for worker in team]
    rounds, started = 0, time.monotonic()
    while rounds < LEAST_STEPS or time.monotonic() - started < SECONDS_A_SIDE * len(workers):
        rounds += 1
        for worker in workers:
            worker.turn()
    found = {}
    for worker in workers:
        low, middle, high = min(worker.milliseconds), median(worker.milliseconds), max(worker.milliseconds)
        print(f"  {worker.name}: {len(worker.milliseconds)} steps, {low:.1f} to {high:.1f} ms, median {middle:.1f}", file=sys.stderr)
        found[worker] = (middle, worker.peak_mib())
    return [min(found[worker] for worker in team) for team in teams]


def show(name: str, ours: float, peer: float, ratio: float, bar: Bar = Bar()) -> bool:
    """Whether the bar holds."""
    digits = 4 if abs(ours) < 1 else 1
    print(f"{name}\t{ours:.{digits}f}\t{peer:.{digits}f}\t{ratio:.{digits if digits == 4 else 2}f}\t{bar}", flush=True)
    return bar.holds(ratio)


def step(mode: str, model: str, dtype: str, bar: Bar = Bar(), peer_dtype: str | None = None, peer_mode: str | None = None) -> Callable[[str], bool]:
    """Time of one step, as peer / ours."""

    def measure(name: str) -> bool:
        (ours, _), (peer, _) = side_by_side((False, mode, model, dtype), (True, peer_mode or mode, model, peer_dtype or dtype))
        return show(name, ours, peer, peer / ours, bar)

    return measure


def lean_peak_mib(model: str, dtype: str) -> float:
    """Peak MiB of PyTorch's training step with glibc's allocator as it comes, which takes longer and may keep less."""
    worker = Worker(True, "train", model, dtype, ATTENTIONS[0], environment={})
    for _ in range(LEAST_STEPS):
        worker.step()
    return worker.peak_mib()


def train_step(model: str, dtype: str, bar: Bar = Bar(), memory: Bar = Bar(), mode: str = "train") -> Callable[[str], bool]:
    """Time and memory of a training step; PyTorch's memory by whichever allocator keeps less."""

    def measure(name: str) -> bool:
        (ours, our_mib), (peer, peer_mib) = side_by_side((False, mode, model, dtype), (True, "train", model, dtype))
        in_time = show(name, ours, peer, peer / ours, bar)
        lean_mib = lean_peak_mib(model, dtype)
        print(f"  peer at most {peer_mib:.0f} MiB with its allocator tuned, {lean_mib:.0f} MiB without", file=sys.stderr)
        least = min(peer_mib, lean_mib)
        return show(f"{name}_peak_mib", our_mib, least, our_mib / least, memory) and in_time

    return measure


def checkpointing(name: str) -> bool:
    """What gradient checkpointing costs and saves, beside ourselves without it."""
    (ours, our_mib), (plain, plain_mib) = side_by_side((False, "train_checkpointing", "base", "float32"), (False, "train", "base", "float32"))
    show(name, ours, plain, plain / ours)
    return show(f"{name}_peak_mib", our_mib, plain_mib, our_mib / plain_mib)


def floor(name: str) -> bool:
    """The step's bare products, by whichever side computes them faster, against our whole step; and what the machine could do."""
    sides = [(False, "train", "base", "float32"), (False, "products", "base", "float32"), (True, "products", "base", "float32")]
    sides += [(False, "peak", "base", "float32"), (False, "products", "base", "bfloat16")]
    whole, ours, theirs, peak, in_bf16 = (milliseconds for milliseconds, _ in side_by_side(*sides))
    show("products_base_f32", ours, theirs, theirs / ours)
    # `peak` multiplies and adds as often as the products do, in registers.
    show("products_base_f32_share_of_peak", ours, peak, peak / ours)
    # What registers that take pairs of bf16 could do.
    show("products_base_bf16_share_of_twice_the_f32_peak", in_bf16, peak / 2, peak / 2 / in_bf16)
    return show(name, whole, min(ours, theirs), min(ours, theirs) / whole, Bar(low=0.72))


def prepared() -> None:
    """Notes and models of the whole run."""
    for script in ("notes.py", "models.py"):
        subprocess.run([sys.executable, WHOLE_RUN / script, ROOT / "demo", WORK], check=True)
    (WORK / "reference.toml").write_bytes((WHOLE_RUN / "reference.toml").read_bytes())


def rounding(name: str) -> bool:
    """AUROC of a trained classifier on all demo notes, in int8 and as it is."""
    prepared()
    dsgkd, run, notes = BINARIES / "dsgkd", WORK / "run-rounding", WORK / "all.jsonl"
    subprocess.run(["rm", "-rf", run], check=True)
    train = [dsgkd, "train", WORK / "reference.toml", "--quiet", "--set", f"output_dir={json.dumps(str(run))}"]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    parts = [(WORK / f"{part}.jsonl").read_text(encoding="utf-8") for part in ("train", "validation", "test")]
    notes.write_text("".join(parts), encoding="utf-8")

    def auroc(dtype: str) -> float:
        table = WORK / f"{dtype}.csv"
        subprocess.run([dsgkd, "predict", run / "model", notes, "-o", table, "--dtype", dtype], check=True)
        columns = ["--label", "label", "--probability", "probability_emergency", "--classes", "non-emergency,emergency"]
        evaluate = [dsgkd, "evaluate", "--predictions", table, *columns, "--json"]
        found = subprocess.run(evaluate, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(found)["metrics"]["auroc"]

    exact, bf16, int8 = (auroc(dtype) for dtype in ("float32", "bfloat16", "int8"))
    show("bf16_auroc_change", bf16, exact, abs(bf16 - exact))
    return show(name, int8, exact, abs(int8 - exact), Bar(high=0.002))


def script(*arguments: str) -> Callable[[str], bool]:
    """A program of `whole_run/` that prints its own lines."""

    def measure(_: str) -> bool:
        command = [sys.executable, WHOLE_RUN / arguments[0], "--dsgkd", BINARIES / "dsgkd", "--work", WORK, *arguments[1:]]
        return subprocess.run(command).returncode == 0

    return measure


def scaling(name: str) -> bool:
    """Time and memory by the number of notes."""
    prepared()
    return script("scaling.py")(name)


WHOLE_RUN_SCRIPT = ["whole_run.py", "--python", sys.executable, "--rounds", "3", "--published-steps", "24"]
FIGURES: dict[str, Callable[[str], bool]] = {
    "train_base_f32": train_step("base", "float32", Bar(low=2.0), Bar(high=0.70)),
    "train_base_bf16": train_step("base", "bfloat16", Bar(low=1.25), Bar(high=0.70)),
    "train_small_f32": train_step("small", "float32", Bar(low=2.1), Bar(high=0.70)),
    "train_small_bf16": train_step("small", "bfloat16", Bar(low=1.5), Bar(high=0.70)),
    "train_multilingual_f32": train_step("multilingual", "float32"),
    "train_multilingual_bf16": train_step("multilingual", "bfloat16"),
    "train_base_f32_checkpointing": checkpointing,
    "infer_base_f32": step("infer", "base", "float32", Bar(low=2.0)),
    "infer_base_bf16": step("infer", "base", "bfloat16", Bar(low=1.25)),
    "infer_small_f32": step("infer", "small", "float32"),
    "infer_small_bf16": step("infer", "small", "bfloat16"),
    "infer_base_int8": step("infer", "base", "int8"),
    "infer_base_int8_vs_bf16": step("infer", "base", "int8", Bar(low=1.8), peer_dtype="bfloat16"),
    # As a user of ours gets it: the last layer is finished for the tokens that are read, the embeddings updated of words that a batch had. PyTorch does all,
    # as before.
    "finetune_base_f32": train_step("base", "float32", mode="finetune"),
    "finetune_small_f32": train_step("small", "float32", mode="finetune"),
    # A vocabulary of 250,000, of which the batch has a thousand.
    "finetune_multilingual_f32": train_step("multilingual", "float32", mode="finetune"),
    "finetune_multilingual_bf16": train_step("multilingual", "bfloat16", mode="finetune"),
    "score_base_f32": step("score", "base", "float32", peer_mode="infer"),
    "score_base_bf16": step("score", "base", "bfloat16", peer_mode="infer"),
    "score_small_f32": step("score", "small", "float32", peer_mode="infer"),
    "score_base_int8_vs_bf16": step("score", "base", "int8", peer_dtype="bfloat16", peer_mode="infer"),
    "int8_auroc_change": rounding,
    "gemm_floor_f32": floor,
    "whole_run": script(*WHOLE_RUN_SCRIPT),
    "scaling": scaling,
}
# By name alone: for processors without AVX-512, where PyTorch computes bf16 by rounding and nobody would use it.
NAMED = {
    "whole_run_f32": script(*WHOLE_RUN_SCRIPT, "--without", "best_bf16"),
    "infer_base_int8_vs_f32": step("infer", "base", "int8", peer_dtype="float32"),
    "score_base_int8_vs_f32": step("score", "base", "int8", peer_dtype="float32", peer_mode="infer"),
}


def main(names: list[str]) -> None:
    figures = FIGURES | NAMED
    unknown = [name for name in names if name not in figures]
    if unknown:
        sys.exit(f"no figure is named {', '.join(unknown)}; there are {', '.join(figures)}")
    WORK.mkdir(parents=True, exist_ok=True)
    print("name\tours\tpeer\tratio\tbar", flush=True)
    held = [(name, figures[name](name)) for name in names or FIGURES]
    missed = [name for name, holds in held if not holds]
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
