"""Benchmark (d): time and peak memory of `dsgkd train` against the number of notes.

The run that `whole_run.py` times, over the training notes taken 1, 2, 4 and 8 times, in a work folder that has been prepared. What
does not grow with the training notes (start-up, loading, validation, test) is measured on one batch and taken off.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from statistics import median

from whole_run import timed

TIMES = [1, 2, 4, 8]
BARS = {8: (7.6, 8.4)}
BATCH = 16


def run(dsgkd: Path, work: Path, notes: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a training on `notes`, lines of a JSONL file."""
    train, output = work / "scaling.jsonl", work / "run-scaling"
    train.write_text("".join(notes), encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    command = [str(dsgkd), "train", str(work / "reference.toml"), "--quiet"]
    for key, value in {
        "data.train": [str(train)],
        "output_dir": str(output),
    }.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    seconds, peak, _ = timed(command, {}, work / "scaling.err")
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsgkd", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    notes = (work / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    sizes = {0: notes[:BATCH]} | {times: notes * times for times in TIMES}
    found: dict[int, list[tuple[float, float]]] = {times: [] for times in sizes}
    for _ in range(arguments.rounds):
        for times, lines in sizes.items():
            found[times].append(run(arguments.dsgkd, work, lines))
    seconds = {times: median(one for one, _ in runs) for times, runs in found.items()}
    peaks = {times: median(peak for _, peak in runs) for times, runs in found.items()}
    for times, lines in sizes.items():
        name = f"{times}x" if times else "one batch"
        print(f"  {name}: {len(lines)} notes, {seconds[times]:.2f} s, at most {peaks[times]:.1f} MiB", file=sys.stderr)
    held, once = True, seconds[1] - seconds[0]
    for times in TIMES[1:]:
        low, high = BARS.get(times, (None, None))
        ours = seconds[times] - seconds[0]
        shown = f"{low:g} to {high:g}" if low else "-"
        print(f"time_{times}x_over_1x\t{ours:.2f}\t{once:.2f}\t{ours / once:.2f}\t{shown}")
        print(f"peak_mib_{times}x_over_1x\t{peaks[times]:.1f}\t{peaks[1]:.1f}\t{peaks[times] / peaks[1]:.3f}\t-")
        held = held and (low is None or low <= ours / once <= high)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
