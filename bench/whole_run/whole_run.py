"""Benchmark (c): a whole DSG-KD run of dsgkd against the same run in PyTorch.

Prepares notes and models in the work folder, holds the losses of all programs against each other, then times them in
turn. Prints `name<TAB>ours<TAB>peer<TAB>ratio<TAB>bar`; ends with 1 when losses differ or a ratio misses its bar. See
README.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import compare_losses

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "demo"
CHECKED_STEPS = 20
TOLERANCES = {"published": 1e-5, "best_f32": 1e-5, "best_bf16": 1e-2}
# Of our own losses in bf16 to those in f32.
ROUNDED_TOLERANCE = 1e-2
BARS = {"published": 15.0, "best_f32": 1.5, "best_bf16": 1.5}
PROGRAMS = {
    "published": ["published.py"],
    "best_f32": ["best.py", "--dtype", "f32"],
    "best_bf16": ["best.py", "--dtype", "bf16"],
}
# PyTorch takes and returns its buffers at every step; glibc shall keep them.
PEER_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "536870912",
}
WITHOUT_DROPOUT = ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]


@dataclass
class Timing:
    """One run: seconds of the process, seconds of its training, and peak memory."""

    whole: float
    training: float
    peak_rss_mib: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="a Python with torch, transformers and tokenizers")
    parser.add_argument("--dsgkd", type=Path, required=True, help="a release build")
    parser.add_argument("--work", type=Path, required=True, help="folder for notes, models and runs")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--published-steps", type=int, help="time so many steps (4 or more) of published.py, and extrapolate"
    )
    parser.add_argument("--ours-dtype", help="train.dtype of the timed runs of dsgkd")
    parser.add_argument("--without", choices=list(PROGRAMS), action="append", default=[], help="a program to leave out")
    parser.add_argument("--only-check", action="store_true", help="compare losses, time nothing")
    return parser.parse_args()


def programs(arguments: argparse.Namespace) -> list[str]:
    return [name for name in PROGRAMS if name not in arguments.without]


def prepare(arguments: argparse.Namespace) -> None:
    for script in ("notes.py", "models.py"):
        subprocess.run([arguments.python, HERE / script, DEMO, arguments.work], check=True)
    shutil.copy(HERE / "reference.toml", arguments.work)


def ours_command(arguments: argparse.Namespace, output: Path, settings: list[str]) -> list[str]:
    shutil.rmtree(output, ignore_errors=True)
    command = [str(arguments.dsgkd), "train", str(arguments.work / "reference.toml"), "--quiet"]
    for setting in [f"output_dir={json.dumps(str(output))}", *settings]:
        command += ["--set", setting]
    return command


def peer_command(arguments: argparse.Namespace, name: str, options: list[str]) -> list[str]:
    work = arguments.work
    script, *more = PROGRAMS[name]
    command = [str(arguments.python), str(HERE / script), *more, "--no-shuffle", *options]
    for part in ("student", "teacher"):
        command += [f"--{part}", str(work / part)]
    for part in ("train", "validation", "test"):
        command += [f"--{part}", str(work / f"{part}.jsonl")]
    return [*command, "--output", str(work / f"{name}.pt"), "--log", str(work / f"{name}.jsonl")]


def timed(command: list[str], environment: dict[str, str], talk: Path) -> tuple[float, float, str]:
    """Seconds, peak memory in MiB and standard output of a process; standard error goes to the file `talk`."""
    with open(talk, "w") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}; see {talk}")
    return seconds, usage.ru_maxrss / 1024, output


def run_ours(arguments: argparse.Namespace, output: Path, settings: list[str]) -> Timing:
    command = ours_command(arguments, output, settings)
    started = time.time()
    seconds, peak, _ = timed(command, {}, arguments.work / "ours.err")
    # The last line of the history is the last validation; what lies before it includes start-up and loading.
    training = (output / "history.jsonl").stat().st_mtime - started
    return Timing(seconds, training, peak)


def run_peer(arguments: argparse.Namespace, name: str, options: list[str]) -> Timing:
    command = peer_command(arguments, name, options)
    seconds, peak, output = timed(command, PEER_ENVIRONMENT, arguments.work / f"{name}.err")
    return Timing(seconds, json.loads(output)["seconds"], peak)


def check_losses(arguments: argparse.Namespace) -> bool:
    """Whether all programs have the same losses without dropout; says on standard error what was found."""
    settings = [f"student.{key}=0" for key in WITHOUT_DROPOUT]
    output = arguments.work / "run-check"
    run_ours(arguments, output, settings)
    agreed = True
    for name in programs(arguments):
        run_peer(arguments, name, ["--dropout", "0", "--steps", str(CHECKED_STEPS)])
        compared, found = compare_losses.differences(arguments.work / f"{name}.jsonl", output / "history.jsonl")
        agreed = agrees(name, compared, found, TOLERANCES[name]) and agreed
    if "best_bf16" not in arguments.without:
        rounded = arguments.work / "run-check-bf16"
        run_ours(arguments, rounded, [*settings, 'train.dtype="bfloat16"'])
        compared, found = compare_losses.differences(rounded / "history.jsonl", output / "history.jsonl", CHECKED_STEPS)
        agreed = agrees("our own in bf16", compared, found, ROUNDED_TOLERANCE) and agreed
    return agreed


def agrees(name: str, compared: int, found: dict[str, float], tolerance: float) -> bool:
    """Whether no loss differs by more than `tolerance`; says on standard error what was found."""
    holds = max(found.values()) <= tolerance and compared == CHECKED_STEPS
    details = ", ".join(f"{loss} {value:.1e}" for loss, value in found.items())
    verdict = "agree" if holds else "DIFFER"
    print(f"losses of {name}, {compared} steps, {verdict}, at most {tolerance:g}: {details}", file=sys.stderr)
    return holds


def extrapolated(timing: Timing, log: Path, steps: int) -> Timing:
    """A run that was cut short, as if it had had `steps` steps at the pace of the latter half of its own.

    The first steps are slower, while memory is taken. The validations it lacks are not added.
    """
    done = compare_losses.read_steps(log)
    middle_step, last_step = done[len(done) // 2 - 1], done[-1]
    pace = (last_step["seconds"] - middle_step["seconds"]) / (last_step["step"] - middle_step["step"])
    more = pace * (steps - last_step["step"])
    return Timing(timing.whole + more, timing.training + more, timing.peak_rss_mib)


def time_all(arguments: argparse.Namespace) -> dict[str, list[Timing]]:
    settings = [f'train.dtype="{arguments.ours_dtype}"'] if arguments.ours_dtype else []
    timings: dict[str, list[Timing]] = {name: [] for name in ["ours", *programs(arguments)]}
    output = arguments.work / "run"
    for _ in range(arguments.rounds):
        timings["ours"].append(run_ours(arguments, output, settings))
        steps = len(compare_losses.read_steps(output / "history.jsonl"))
        for name in programs(arguments):
            cut = arguments.published_steps if name == "published" else None
            timing = run_peer(arguments, name, ["--steps", str(cut)] if cut else [])
            log = arguments.work / f"{name}.jsonl"
            timings[name].append(extrapolated(timing, log, steps) if cut else timing)
    return timings


def middle(timings: list[Timing], part: str) -> float:
    return median(getattr(timing, part) for timing in timings)


def print_table(arguments: argparse.Namespace, timings: dict[str, list[Timing]]) -> bool:
    """Whether every ratio reaches its bar."""
    reached = True
    lines = [("dsgkd_run", "whole"), ("dsgkd_training", "training"), ("dsgkd_peak_mib", "peak_rss_mib")]
    for prefix, part in lines:
        for name in programs(arguments):
            bar = BARS[name]
            ours, peer = middle(timings["ours"], part), middle(timings[name], part)
            is_cut = name == "published" and arguments.published_steps
            suffix = f"_extrapolated_from_{arguments.published_steps}_steps" if is_cut else ""
            shown = f">= {bar:g}" if part == "whole" else "-"
            print(f"{prefix}_vs_{name}{suffix}\t{ours:.2f}\t{peer:.2f}\t{peer / ours:.2f}\t{shown}")
            reached = reached and (part != "whole" or peer / ours >= bar)
    return reached


def main() -> None:
    arguments = parse_arguments()
    arguments.work = arguments.work.resolve()
    prepare(arguments)
    agreed = check_losses(arguments)
    reached = arguments.only_check or print_table(arguments, time_all(arguments))
    sys.exit(0 if agreed and reached else 1)


if __name__ == "__main__":
    main()
