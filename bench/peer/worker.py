"""PyTorch's side of a measurement; `bench/src/worker.rs` is the same in dsgkd.

worker.py train|infer|products base|small|multilingual float32|bfloat16|int8 (infer alone) sdpa|eager

Prints `ready`, then for every line it reads the milliseconds of one step, and at the end the most memory that was ever
resident, in MiB. Settings are the fastest known on a CPU: fused AdamW, no gradient kept between steps, and (set by the
caller) whichever attention is faster and an allocator that keeps its pages.
"""

import resource
import sys
import time
import warnings
from collections.abc import Callable

import torch
from transformers import BertConfig, BertForSequenceClassification

# Hidden size, layers, heads, notes, length, vocabulary; `multilingual` has the sizes of multilingual-e5-small.
CASES = {"base": (768, 12, 12, 8, 128, 30522), "small": (256, 4, 4, 32, 64, 30522), "multilingual": (384, 12, 12, 16, 64, 250037)}


def build(model: str, attention: str) -> tuple[BertForSequenceClassification, torch.Tensor, torch.Tensor]:
    hidden, layers, heads, notes, length, vocabulary = CASES[model]
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        attn_implementation=attention,
    )
    note, at = torch.arange(notes)[:, None], torch.arange(length)[None, :]
    input_ids = (note * 7919 + at * 104729 + 1000) % vocabulary
    return BertForSequenceClassification(config), input_ids, torch.arange(notes) % 2


def trainer(model: str, attention: str, autocast: torch.autocast) -> Callable[[], float]:
    network, input_ids, labels = build(model, attention)
    network.train()
    head = list(network.classifier.parameters())
    groups = [{"params": list(network.bert.parameters()), "lr": 1e-5}, {"params": head, "lr": 1e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)

    def step() -> float:
        with autocast:
            loss = network(input_ids=input_ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def scorer(model: str, attention: str, dtype: torch.dtype) -> Callable[[], float]:
    network, input_ids, _ = build(model, attention)
    network.eval()
    if dtype == torch.int8:
        # Dense layers alone, activations as they come: what PyTorch has for `int8` without a calibration, by its fastest library here.
        torch.backends.quantized.engine = "fbgemm"
        warnings.simplefilter("ignore")
        network = torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8)
    else:
        network.to(dtype)  # weights converted once, not at every call

    def step() -> float:
        with torch.inference_mode():
            return network(input_ids=input_ids).logits[0, 0].item()

    return step


def products(model: str) -> Callable[[], float]:
    """The dense layers of a training step and nothing else: forward, and backward to the input and to the weight."""
    hidden, layers, _, notes, length, _ = CASES[model]
    tokens = notes * length
    sizes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (4 * hidden, hidden)] * layers
    buffers = [(torch.ones(tokens, i), torch.ones(o, i), torch.ones(o, i)) for i, o in sizes]
    output = {o: torch.ones(tokens, o) for _, o in sizes}
    d_input = {i: torch.ones(tokens, i) for i, _ in sizes}

    def step() -> float:
        for input, weight, _ in buffers:
            torch.mm(input, weight.T, out=output[len(weight)])
        for input, weight, d_weight in reversed(buffers):
            d_output = output[len(weight)]
            torch.mm(d_output, weight, out=d_input[input.shape[1]])
            d_weight.addmm_(d_output.T, input)
        return d_input[hidden][0, 0].item()

    return step


def main(mode: str, model: str, dtype_name: str, attention: str) -> None:
    torch.set_num_threads(2)
    dtype = getattr(torch, dtype_name)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
    steps = {
        "train": lambda: trainer(model, attention, autocast),
        "infer": lambda: scorer(model, attention, dtype),
        "products": lambda: products(model),
    }
    step = steps[mode]()
    for _ in range(2):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(f"{(time.perf_counter() - start) * 1e3:.3f}", flush=True)
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
