"""Case reports of JMED-LLM's CRADE (CC BY 4.0) as notes: for each entity that the task asks about, the entity and the sentences of its report that name it,
each with the sentence before. The label is whether the entity is an adverse drug event, or caused one, at all (answers B, C, D) or not (A).

    python3 experiments/japanese/prepare.py CRADE.csv.gz runs/japanese/crade.csv
"""

import csv
import gzip
import re
import sys
from pathlib import Path

source, target = map(Path, sys.argv[1:])
target.parent.mkdir(parents=True, exist_ok=True)
reports = {}  # text -> number: all notes of a report stay on one side of a split
with gzip.open(source, "rt", encoding="utf-8-sig", newline="") as read, target.open("w", encoding="utf-8", newline="") as written:
    table = csv.writer(written)
    table.writerow(["report", "entity", "sentences", "adverse_event"])
    for row in csv.DictReader(read):
        question, _, quoted = row["question"].partition("\n")
        entity = re.search("「(.*?)」", question).group(1)
        report = quoted.strip().removeprefix("「").removesuffix("」")
        sentences = [sentence for sentence in report.split("\n") if sentence.strip()]
        named = [number for number, sentence in enumerate(sentences) if entity in sentence]
        kept = sorted({near for number in named for near in (number - 1, number) if near >= 0}) or range(len(sentences))
        number = reports.setdefault(report, len(reports))
        table.writerow([number, entity, " ".join(sentences[number] for number in kept), "no" if row["answer"] == "A" else "yes"])
print(f"{target}: notes of {len(reports)} reports", file=sys.stderr)
