"""Opens a folder as `AutoModelForSequenceClassification`: python open_in_transformers.py FOLDER [--logits FILE]

Fails when a tensor is missing, unexpected or misshapen, or when the logits differ from those of FILE, a JSON list of
{"input_ids": [...], "logits": [...]}, by more than 1e-5 of max(1, |logit|).
"""

import argparse
import json
import pathlib
import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--logits", type=pathlib.Path)
arguments = parser.parse_args()
model, info = AutoModelForSequenceClassification.from_pretrained(
    arguments.folder, output_loading_info=True, trust_remote_code=True
)
wrong = {key: list(info[key]) for key in ["missing_keys", "unexpected_keys", "mismatched_keys"] if info[key]}
if wrong:
    sys.exit(f"{arguments.folder.name}: {wrong}")
if (arguments.folder / "tokenizer.json").exists():
    AutoTokenizer.from_pretrained(arguments.folder)
if (arguments.folder / "modeling_dsgkd.py").exists():
    try:
        AutoModelForSequenceClassification.from_pretrained(arguments.folder, trust_remote_code=False)
    except ValueError:
        pass
    else:
        sys.exit(f"{arguments.folder.name}: opens without its code, as another class")
for note in json.loads(arguments.logits.read_text()) if arguments.logits else []:
    with torch.no_grad():
        logits = model.eval()(torch.tensor([note["input_ids"]])).logits[0].tolist()
    for ours, theirs in zip(note["logits"], logits, strict=True):
        if abs(ours - theirs) > 1e-5 * max(1, abs(theirs)):
            sys.exit(f"{arguments.folder.name}: logit {ours}, transformers has {theirs}")
print(f"{arguments.folder.name}: OK")
