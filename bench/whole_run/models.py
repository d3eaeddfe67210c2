"""Copies the demo's encoders for the benchmark: models.py DEMO_FOLDER WORK_FOLDER.

The copies are in f32 and take 512 tokens (the demo's take 256, and the published method pads to 384; the new rows
repeat the old ones). The student drops out 0.1, as BERT does, and gets a pooler and the published head from a fixed
seed, so that all programs start from the same weights.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

SEED = 1
CLASSES = 2
POSITIONS = 512
DROPOUT = 0.1
POSITION_EMBEDDINGS = "bert.embeddings.position_embeddings.weight"


def fresh(outputs: dict[str, int], hidden: int, deviation: float) -> dict[str, torch.Tensor]:
    """Dense layers from `hidden` inputs to the named numbers of outputs."""
    generator = torch.Generator().manual_seed(SEED)
    tensors = {}
    for name, width in outputs.items():
        tensors[f"{name}.weight"] = torch.randn(width, hidden, generator=generator) * deviation
        tensors[f"{name}.bias"] = torch.zeros(width)
    return tensors


def copy_model(source: Path, target: Path, is_student: bool) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]:
        shutil.copy(source / name, target / name)
    config = json.loads((source / "config.json").read_text())
    stored = load_file(source / "model.safetensors")
    tensors = {name: tensor.float() for name, tensor in stored.items() if name.startswith("bert.")}
    positions = tensors[POSITION_EMBEDDINGS]
    tensors[POSITION_EMBEDDINGS] = positions.repeat(POSITIONS // len(positions), 1)
    hidden = config["hidden_size"]
    layers = {"bert.pooler.dense": hidden}
    if is_student:
        layers |= {"classifier.dense": hidden, "classifier.out_proj": CLASSES}
    tensors |= fresh(layers, hidden, config["initializer_range"])
    config |= {"max_position_embeddings": POSITIONS, "torch_dtype": "float32", "architectures": ["BertModel"]}
    if is_student:
        config |= dict.fromkeys(["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"], DROPOUT)
        config["dsgkd_head"] = "reference"  # without it dsgkd begins a head of its own
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    demo, work = Path(sys.argv[1]), Path(sys.argv[2])
    copy_model(demo / "student", work / "student", is_student=True)
    copy_model(demo / "teacher", work / "teacher", is_student=False)


if __name__ == "__main__":
    main()
