"""The same losses as published.py, written as well as PyTorch allows on a CPU.

Notes are tokenized once, in one batch, and padded to the longest of their batch; the teacher runs once over each note
and its pooled values are kept; spans are pooled by one matrix product a layer and all layers share one mean squared
error; query, key and value are one product; AdamW is fused. The encoder is written here, because transformers' own
takes longer to import and to run.

Tried and not faster on two cores with AVX-512: `torch.compile` (47 s to compile, 10 s from a warm cache, then 103 ms a
step instead of 77 ms); the tokens of a batch packed end to end for all but attention (the gathering costs what the
padding did); huge pages. `scaled_dot_product_attention` has no fast way on a CPU with dropout, and then the loss needs
the probabilities after dropout anyway; it is used where nothing is dropped and no row is wanted, in `measure`.
"""

import time

PROGRAM_STARTED = time.perf_counter()

import json  # noqa: E402
import math  # noqa: E402
from contextlib import nullcontext  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import common  # noqa: E402


@dataclass
class Side:
    """Notes in one model's tokens, padded: `ids [notes, width]`, their lengths, and the weights `[notes, terms, width]`
    that take the mean of each term's span."""

    ids: Tensor
    lengths: Tensor
    spans: Tensor

    def batch(self, notes: Tensor, terms: int) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, what is added to attention scores, and span weights, no wider than these notes need."""
        lengths = self.lengths[notes]
        width = int(lengths.max())
        ids = self.ids[notes, :width]
        padding = torch.arange(width) >= lengths[:, None]
        mask = torch.zeros(padding.shape).masked_fill_(padding, torch.finfo(torch.float32).min)
        return ids, mask[:, None, None], self.spans[notes, :terms, :width]


@dataclass
class Notes:
    """Notes in both models' tokens, with their numbers of terms `[notes]` and labels `[notes]`."""

    student: Side
    teacher: Side
    terms: Tensor
    labels: Tensor


@dataclass
class Pooled:
    """An encoder's output: `first [notes, hidden]`, `hidden [levels, notes, terms, hidden]`, `rows [layers, notes,
    heads, terms, columns]`; the latter two are zero past a note's terms."""

    first: Tensor
    hidden: Tensor
    rows: Tensor


def open_tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(common.MAX_LENGTH)
    return tokenizer


def word_counts(word_ids: list[int | None], words: int) -> list[int]:
    counts = [0] * words
    for word in word_ids:
        if word is not None:
            counts[word] += 1
    return counts


def make_side(ids: list[list[int]], spans: list[list[tuple[int, int]]]) -> Side:
    lengths = torch.tensor([len(note) for note in ids])
    terms, width = max(map(len, spans)), int(lengths.max())
    weights = np.zeros((len(ids), terms, width), np.float32)
    for note, of_note in enumerate(spans):
        for term, (start, end) in enumerate(of_note):
            weights[note, term, start:end] = 1 / (end - start)
    padded = torch.tensor([note + [0] * (width - len(note)) for note in ids])
    return Side(padded, lengths, torch.from_numpy(weights))


def read_notes(path: Path, student: Tokenizer, teacher: Tokenizer) -> Notes:
    texts, labels = common.read_notes(path)
    words = [text.split(" ") for text in texts]
    encoded = [tokenizer.encode_batch(words, is_pretokenized=True) for tokenizer in (student, teacher)]
    spans = [
        common.term_spans(note, *(word_counts(side.word_ids, len(note)) for side in sides))
        for note, *sides in zip(words, *encoded, strict=True)
    ]
    sides = [
        make_side([note.ids for note in notes], [[span[at : at + 2] for span in of_note] for of_note in spans])
        for at, notes in zip((0, 2), encoded, strict=True)
    ]
    return Notes(*sides, torch.tensor([len(of_note) for of_note in spans]), labels)


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """PyTorch's own draws one number an element and takes three times as long; here four elements share one."""
    if not training or probability == 0:
        return x
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = draws[: x.numel()].view(x.shape) >= round(probability * 2**16) - 2**15
    return x * kept.to(x.dtype).mul_(1 / (1 - probability))


class Layer(nn.Module):
    def __init__(
        self, hidden: int, intermediate: int, heads: int, epsilon: float, dropouts: tuple[float, float]
    ) -> None:
        super().__init__()
        self.heads = heads
        self.hidden_dropout, self.attention_dropout = dropouts
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.attention_output = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, epsilon)
        self.intermediate = nn.Linear(hidden, intermediate)
        self.output = nn.Linear(intermediate, hidden)
        self.output_norm = nn.LayerNorm(hidden, epsilon)

    def forward(self, x: Tensor, mask: Tensor, pool: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """`x [notes, length, hidden]` and the rows pooled by `pool [notes, terms, length]`."""
        notes, length, hidden = x.shape
        qkv = self.qkv(x).view(notes, length, 3, self.heads, hidden // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).contiguous()
        if pool is None:
            context, rows = F.scaled_dot_product_attention(query, key, value, attn_mask=mask.to(query.dtype)), None
        else:
            scores = query @ key.transpose(2, 3) * (hidden // self.heads) ** -0.5 + mask
            probabilities = dropout(scores.softmax(-1), self.attention_dropout, self.training)
            context = probabilities @ value
            rows = pool[:, None] @ probabilities
        context = context.transpose(1, 2).reshape(notes, length, hidden)
        x = self.attention_norm(x + dropout(self.attention_output(context), self.hidden_dropout, self.training))
        inner = self.output(F.gelu(self.intermediate(x)))
        return self.output_norm(x + dropout(inner, self.hidden_dropout, self.training)), rows


class Encoder(nn.Module):
    """BERT, read from a Hugging Face folder."""

    def __init__(self, folder: Path, stored: dict[str, Tensor], without_dropout: bool) -> None:
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        hidden, epsilon = config["hidden_size"], config["layer_norm_eps"]
        dropouts = (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"])
        if without_dropout:
            dropouts = (0.0, 0.0)
        self.hidden_dropout = dropouts[0]
        self.words = nn.Embedding(config["vocab_size"], hidden, padding_idx=0)
        self.positions = nn.Embedding(config["max_position_embeddings"], hidden)
        self.types = nn.Embedding(config["type_vocab_size"], hidden)
        self.norm = nn.LayerNorm(hidden, epsilon)
        sizes = (hidden, config["intermediate_size"], config["num_attention_heads"], epsilon, dropouts)
        self.layers = nn.ModuleList(Layer(*sizes) for _ in range(config["num_hidden_layers"]))
        self.pooler = nn.Linear(hidden, hidden)
        self.load(stored)

    @torch.no_grad()
    def load(self, stored: dict[str, Tensor]) -> None:
        def copy(module: nn.Module, *names: str) -> None:
            for part, parameter in module.named_parameters():
                parameter.copy_(torch.cat([stored[f"bert.{name}.{part}"] for name in names]))

        copy(self.words, "embeddings.word_embeddings")
        copy(self.positions, "embeddings.position_embeddings")
        copy(self.types, "embeddings.token_type_embeddings")
        copy(self.norm, "embeddings.LayerNorm")
        copy(self.pooler, "pooler.dense")
        for number, layer in enumerate(self.layers):
            at = f"encoder.layer.{number}"
            copy(layer.qkv, *(f"{at}.attention.self.{part}" for part in ("query", "key", "value")))
            copy(layer.attention_output, f"{at}.attention.output.dense")
            copy(layer.attention_norm, f"{at}.attention.output.LayerNorm")
            copy(layer.intermediate, f"{at}.intermediate.dense")
            copy(layer.output, f"{at}.output.dense")
            copy(layer.output_norm, f"{at}.output.LayerNorm")

    def embed(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.types.weight[0] + self.positions.weight[: ids.shape[1]]
        return dropout(self.norm(x), self.hidden_dropout, self.training)

    def forward(self, ids: Tensor, mask: Tensor, pool: Tensor) -> Pooled:
        x = self.embed(ids)
        hidden, rows = [pool @ x], []
        for layer in self.layers:
            x, of_layer = layer(x, mask, pool)
            hidden.append(pool @ x)
            rows.append(of_layer)
        return Pooled(x[:, 0], torch.stack(hidden), torch.stack(rows))

    def first(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The first token's last hidden state alone, `[notes, hidden]`."""
        x = self.embed(ids)
        for layer in self.layers:
            x, _ = layer(x, mask, None)
        return x[:, 0]


class Student(nn.Module):
    def __init__(self, folder: Path, without_dropout: bool) -> None:
        super().__init__()
        stored = load_file(folder / "model.safetensors")
        self.encoder = Encoder(folder, stored, without_dropout)
        hidden = self.encoder.pooler.in_features
        config = json.loads((folder / "config.json").read_text())
        self.dropout = 0.0 if without_dropout else config["classifier_dropout"]
        self.dense = nn.Linear(hidden, hidden)
        self.out_proj = nn.Linear(hidden, len(common.CLASSES))
        self.dense.load_state_dict({part: stored[f"classifier.dense.{part}"] for part in ("weight", "bias")})
        self.out_proj.load_state_dict({part: stored[f"classifier.out_proj.{part}"] for part in ("weight", "bias")})

    def classify(self, first: Tensor) -> Tensor:
        pooled = torch.tanh(self.encoder.pooler(first))
        inner = F.gelu(self.dense(dropout(pooled, self.dropout, self.training)))
        return self.out_proj(dropout(inner, self.dropout, self.training))


def autocast(dtype: str):
    return torch.autocast("cpu", torch.bfloat16) if dtype == "bf16" else nullcontext()


@torch.no_grad()
def ask_teacher(teacher: Encoder, notes: Notes, batch_size: int, dtype: str) -> Pooled:
    """What the teacher says of every note; `first` is not used."""
    (total, terms, width), heads = notes.teacher.spans.shape, teacher.layers[0].heads
    levels, hidden = len(teacher.layers) + 1, teacher.pooler.in_features
    answers = Pooled(
        torch.empty(0),
        torch.zeros(levels, total, terms, hidden),
        torch.zeros(levels - 1, total, heads, terms, width),
    )
    for batch in notes.teacher.lengths.argsort().split(batch_size):
        ids, mask, spans = notes.teacher.batch(batch, terms)
        with autocast(dtype):
            said = teacher(ids, mask, spans)
        answers.hidden[:, batch] = said.hidden.float()
        answers.rows[:, batch, :, :, : ids.shape[1]] = said.rows.float()
    return answers


def distillation_losses(said: Pooled, taught: Pooled, terms: int) -> tuple[Tensor, Tensor]:
    """Mean squared errors over the batch's `terms`; rows count as 384 columns wide."""
    levels, _, _, hidden = said.hidden.shape
    layers, _, heads, _, columns = said.rows.shape
    hidden_loss = (said.hidden.float() - taught.hidden).square().sum() / (terms * levels * hidden)
    width = max(columns, taught.rows.shape[-1])
    difference = F.pad(said.rows.float(), (0, width - columns)) - F.pad(taught.rows, (0, width - taught.rows.shape[-1]))
    return hidden_loss, difference.square().sum() / (terms * layers * heads * common.MAX_LENGTH)


@torch.inference_mode()
def measure(student: Student, notes: Notes, batch_size: int, threshold: float, dtype: str) -> dict[str, float]:
    student.eval()
    logits = torch.empty(len(notes.labels), len(common.CLASSES))
    for batch in notes.student.lengths.argsort().split(batch_size):
        ids, mask, _ = notes.student.batch(batch, 0)
        with autocast(dtype):
            logits[batch] = student.classify(student.encoder.first(ids, mask)).float()
    return common.measures(logits, notes.labels, threshold)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    arguments = parser.parse_args()
    batch_size, dtype = arguments.batch_size, arguments.dtype
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    tokenizers = [open_tokenizer(folder) for folder in (arguments.student, arguments.teacher)]
    student = Student(arguments.student, arguments.dropout == "0")
    teacher = Encoder(arguments.teacher, load_file(arguments.teacher / "model.safetensors"), True).eval()

    run = common.Run(arguments)
    training = read_notes(arguments.train, *tokenizers)
    watched = read_notes(arguments.validation, *tokenizers)
    threshold = training.labels.float().mean().item()
    answers = ask_teacher(teacher, training, batch_size, dtype)
    head = [*student.dense.parameters(), *student.out_proj.parameters()]
    groups = [
        {"params": list(student.encoder.parameters()), "lr": common.ENCODER_RATE},
        {"params": head, "lr": common.CLASSIFIER_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=common.WEIGHT_DECAY, eps=1e-8, fused=True)
    notes = len(training.labels)
    total_steps = math.ceil(notes / batch_size) * arguments.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, common.rate_factor(total_steps))
    parameters = list(student.parameters())

    for _ in range(arguments.epochs):
        student.train()
        order = torch.arange(notes) if arguments.no_shuffle else torch.randperm(notes)
        for batch in order.split(batch_size):
            if run.steps == arguments.steps:
                break
            terms = training.terms[batch]
            most = int(terms.max())
            with autocast(dtype):
                said = student.encoder(*training.student.batch(batch, most))
                logits = student.classify(said.first)
            taught = Pooled(answers.first, answers.hidden[:, batch, :most], answers.rows[:, batch, :, :most])
            hidden, attention = distillation_losses(said, taught, int(terms.sum()))
            prediction = F.cross_entropy(logits.float(), training.labels[batch])
            total = common.ALPHA * hidden + common.BETA * attention + prediction
            optimizer.zero_grad()
            total.backward()
            norm = nn.utils.clip_grad_norm_(parameters, common.MAX_GRAD_NORM, foreach=True)
            optimizer.step()
            schedule.step()
            run.step(
                hidden=hidden.item(),
                attention=attention.item(),
                prediction=prediction.item(),
                total=total.item(),
                grad_norm=norm.item(),
            )
        if run.steps == arguments.steps:
            break
        run.validated(measure(student, watched, batch_size, threshold, dtype), student)
    run.trained()

    test = None
    if arguments.test and run.validations:
        student.load_state_dict(torch.load(arguments.output))
        tested = read_notes(arguments.test, *tokenizers)
        test = measure(student, tested, batch_size, threshold, dtype)
    run.report(PROGRAM_STARTED, test)


if __name__ == "__main__":
    main()
