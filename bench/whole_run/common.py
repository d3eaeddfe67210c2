"""What both PyTorch programs share: arguments, notes, the settings of reference.toml, measures, reports."""

import argparse
import json
import math
import resource
import time
from pathlib import Path

import torch
from torch import Tensor

CLASSES = ["non-emergency", "emergency"]
MAX_LENGTH = 384
MAX_TERMS = 32
ALPHA, BETA = 0.6, 0.2
ENCODER_RATE, CLASSIFIER_RATE = 1e-4, 1e-3
WEIGHT_DECAY = 0.01
WARMUP_RATIO = 0.25
MAX_GRAD_NORM = 1.0


def parser(description: str) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--student", type=Path, required=True)
    arguments.add_argument("--teacher", type=Path, required=True)
    arguments.add_argument("--train", type=Path, required=True)
    arguments.add_argument("--validation", type=Path, required=True)
    arguments.add_argument("--test", type=Path, help="measured once, with the best weights")
    arguments.add_argument("--output", type=Path, required=True, help="file for the best weights")
    arguments.add_argument("--log", type=Path, required=True, help="file for the losses of each step")
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--batch-size", type=int, default=16)
    arguments.add_argument("--dropout", choices=["0", "model"], default="model")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--steps", type=int, help="stop after so many steps")
    arguments.add_argument("--no-shuffle", action="store_true")
    return arguments


def read_notes(path: Path) -> tuple[list[str], Tensor]:
    """Texts and labels `[notes]`."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows], torch.tensor([CLASSES.index(row["label"]) for row in rows])


def is_term(word: str) -> bool:
    return word.isascii() and word.isalpha()


def term_spans(words: list[str], student_counts: list[int], teacher_counts: list[int]) -> list[tuple[int, ...]]:
    """`(student start, student end, teacher start, teacher end)` of each term, from the words' numbers of tokens."""
    limit = MAX_LENGTH - 1
    spans = []
    student_at = teacher_at = 1  # after [CLS]
    for word, student_count, teacher_count in zip(words, student_counts, teacher_counts, strict=True):
        if student_at >= limit or teacher_at >= limit or len(spans) == MAX_TERMS:
            break
        student_end, teacher_end = student_at + student_count, teacher_at + teacher_count
        if is_term(word) and student_count and teacher_count:
            spans.append((student_at, min(student_end, limit), teacher_at, min(teacher_end, limit)))
        student_at, teacher_at = student_end, teacher_end
    return spans


def rate_factor(total_steps: int):
    """Linear warm-up, then linear decay to 0."""
    warmup = int(total_steps * WARMUP_RATIO)

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return max(0, total_steps - step) / max(1, total_steps - warmup)

    return factor


def measures(logits: Tensor, labels: Tensor, threshold: float) -> dict[str, float]:
    """Loss, Brier score, AUROC and F1 (above the positive rate of the training notes) of `logits [notes, 2]`."""
    logits = logits.double()
    positive = logits.softmax(1)[:, 1]
    difference = positive[labels == 1][:, None] - positive[labels == 0][None, :]
    predicted = positive >= threshold
    hits = (predicted & (labels == 1)).sum()
    return {
        "loss": torch.nn.functional.cross_entropy(logits, labels).item(),
        "brier": (positive - labels).square().mean().item(),
        "auroc": ((difference > 0).double() + 0.5 * (difference == 0)).mean().item(),
        "f1": (2 * hits / (predicted.sum() + (labels == 1).sum())).item(),
    }


class Run:
    """Log of the steps, the best weights so far, and the report at the end."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.started = time.perf_counter()
        self.log = open(arguments.log, "w")
        self.output = arguments.output
        self.steps = 0
        self.best_loss = math.inf
        self.validations: list[dict[str, float]] = []
        self.training_seconds = 0.0

    def step(self, **losses: float) -> None:
        self.steps += 1
        line = {"step": self.steps, **losses, "seconds": time.perf_counter() - self.started}
        self.log.write(json.dumps(line) + "\n")

    def validated(self, result: dict[str, float], model: torch.nn.Module) -> None:
        self.validations.append(result)
        if result["loss"] < self.best_loss:
            self.best_loss = result["loss"]
            torch.save(model.state_dict(), self.output)

    def trained(self) -> None:
        self.log.close()
        self.training_seconds = time.perf_counter() - self.started

    def report(self, program_started: float, test: dict[str, float] | None) -> None:
        line = {
            "seconds": self.training_seconds,
            "seconds_total": time.perf_counter() - program_started,
            "steps": self.steps,
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "validation": self.validations,
            "test": test,
        }
        print(json.dumps(line))
