"""Renders the demo's records as notes and splits them: notes.py DEMO_FOLDER WORK_FOLDER."""

import csv
import json
import random
import re
import sys
import tomllib
import unicodedata
from pathlib import Path

SEED = 1
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.12


class MissingCell(Exception):
    """A column of a part that must stand is empty."""


def render(template: str, row: dict[str, str], data: dict) -> str:
    """The note of a record, by the rules of dsgkd's `data.template`."""

    def cell(match: re.Match) -> str:
        column = match[1]
        value = row[column].strip()
        words = data["values"].get(column, {})
        if value in words:
            return words[value]
        if not value or value in data["missing"]:
            raise MissingCell(column)
        return value

    def optional(match: re.Match) -> str:
        try:
            return re.sub(r"\{([^}]*)\}", cell, match[1])
        except MissingCell:
            return ""

    parts = re.split(r"(\[[^\]]*\])", template)
    rendered = (
        re.sub(r"\[([^\]]*)\]", optional, part) if part.startswith("[") else re.sub(r"\{([^}]*)\}", cell, part)
        for part in parts
    )
    return unicodedata.normalize("NFC", "".join(rendered))


def read_demo(demo: Path) -> list[dict[str, str]]:
    """All notes of the demo with their labels; records without a complaint are left out."""
    data = tomllib.loads((demo / "distill.toml").read_text(encoding="utf-8"))["data"]
    notes = []
    with open(demo / data["train"][0], encoding=data["encoding"], newline="") as file:
        for row in csv.DictReader(file, delimiter=data["separator"]):
            try:
                text = render(data["template"], row, data)
            except MissingCell:
                continue
            notes.append({"text": text, "label": data["label_map"][row[data["label"]].strip()]})
    return notes


def main() -> None:
    demo, work = Path(sys.argv[1]), Path(sys.argv[2])
    notes = read_demo(demo)
    random.Random(SEED).shuffle(notes)
    test = round(len(notes) * TEST_SHARE)
    validation = test + round(len(notes) * VALIDATION_SHARE)
    splits = {"test": notes[:test], "validation": notes[test:validation], "train": notes[validation:]}
    work.mkdir(parents=True, exist_ok=True)
    for name, part in splits.items():
        lines = (json.dumps(note, ensure_ascii=False) + "\n" for note in part)
        (work / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
