"""DSG-KD as it was published, in PyTorch and transformers.

Every note is padded to 384 tokens, the teacher runs in every step, attention is eager, and terms are gathered by Python
loops. Three courtesies make it no slower than it need be: notes are tokenized once and not in every epoch, no graph is
built for the teacher, and a batch is taken apart into notes once and not at every term.
"""

import time

PROGRAM_STARTED = time.perf_counter()

from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402
from transformers import AutoConfig, AutoModel, AutoTokenizer  # noqa: E402

import common  # noqa: E402

DROPOUTS = ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]


class Notes(Dataset):
    """Notes in both models' tokens, padded, with the spans of their terms."""

    def __init__(self, path: Path, student_tokenizer, teacher_tokenizer) -> None:
        self.texts, self.labels = common.read_notes(path)
        self.student = self.encode(student_tokenizer)
        self.teacher = self.encode(teacher_tokenizer)
        self.spans = []
        for text in self.texts:
            words = text.split(" ")
            student_counts = [len(student_tokenizer.tokenize(word)) for word in words]
            teacher_counts = [len(teacher_tokenizer.tokenize(word)) for word in words]
            self.spans.append(common.term_spans(words, student_counts, teacher_counts))

    def encode(self, tokenizer) -> dict[str, Tensor]:
        options = {"padding": "max_length", "truncation": True, "max_length": common.MAX_LENGTH}
        encoded = [tokenizer(text, return_tensors="pt", **options) for text in self.texts]
        return {key: torch.cat([note[key] for note in encoded]) for key in ["input_ids", "attention_mask"]}

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int):
        student = {key: value[index] for key, value in self.student.items()}
        teacher = {key: value[index] for key, value in self.teacher.items()}
        return student, teacher, self.spans[index], self.labels[index]


def collate(notes):
    students, teachers, spans, labels = zip(*notes, strict=True)
    stack = lambda sides: {key: torch.stack([side[key] for side in sides]) for key in sides[0]}  # noqa: E731
    return stack(students), stack(teachers), spans, torch.stack(labels)


class Head(nn.Module):
    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.out_proj = nn.Linear(hidden, len(common.CLASSES))
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.out_proj(self.dropout(self.activation(self.dense(self.dropout(pooled)))))


class Student(nn.Module):
    def __init__(self, folder: Path, dropout: str) -> None:
        super().__init__()
        config = AutoConfig.from_pretrained(folder)
        if dropout == "0":
            config.update(dict.fromkeys(DROPOUTS, 0.0))
        self.bert = AutoModel.from_pretrained(folder, config=config, attn_implementation="eager")
        self.classifier = Head(config.hidden_size, config.classifier_dropout)
        stored = load_file(folder / "model.safetensors")
        head = {name: tensor for name, tensor in stored.items() if name.startswith("classifier.")}
        self.load_state_dict(head, strict=False)


def span_mean_loss(student: Tensor, teacher: Tensor, spans) -> Tensor:
    """Mean squared error of the spans' means; `[notes, tokens, hidden]` or `[notes, heads, tokens, columns]`."""
    student_means, teacher_means = [], []
    for student_note, teacher_note, terms in zip(student, teacher, spans, strict=True):
        for student_start, student_end, teacher_start, teacher_end in terms:
            student_means.append(student_note[..., student_start:student_end, :].mean(-2))
            teacher_means.append(teacher_note[..., teacher_start:teacher_end, :].mean(-2))
    return nn.functional.mse_loss(torch.stack(student_means), torch.stack(teacher_means))


def mean_over_layers(student_layers, teacher_layers, spans) -> Tensor:
    losses = [span_mean_loss(*layers, spans) for layers in zip(student_layers, teacher_layers, strict=True)]
    return torch.stack(losses).mean()


@torch.no_grad()
def measure(student: Student, loader: DataLoader, threshold: float) -> dict[str, float]:
    student.eval()
    logits, labels = [], []
    for inputs, _, _, batch_labels in loader:
        logits.append(student.classifier(student.bert(**inputs).pooler_output))
        labels.append(batch_labels)
    return common.measures(torch.cat(logits), torch.cat(labels), threshold)


def main() -> None:
    arguments = common.parser(__doc__).parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (arguments.student, arguments.teacher)]
    student = Student(arguments.student, arguments.dropout)
    teacher = AutoModel.from_pretrained(arguments.teacher, attn_implementation="eager").eval()

    run = common.Run(arguments)
    training = Notes(arguments.train, *tokenizers)
    threshold = training.labels.float().mean().item()
    loader = DataLoader(training, arguments.batch_size, shuffle=not arguments.no_shuffle, collate_fn=collate)
    watched = DataLoader(Notes(arguments.validation, *tokenizers), arguments.batch_size, collate_fn=collate)
    groups = [
        {"params": student.bert.parameters(), "lr": common.ENCODER_RATE},
        {"params": student.classifier.parameters(), "lr": common.CLASSIFIER_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=common.WEIGHT_DECAY, eps=1e-8)
    total_steps = len(loader) * arguments.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, common.rate_factor(total_steps))

    for _ in range(arguments.epochs):
        student.train()
        for student_inputs, teacher_inputs, spans, labels in loader:
            if run.steps == arguments.steps:
                break
            wanted = {"output_hidden_states": True, "output_attentions": True}
            said = student.bert(**student_inputs, **wanted)
            with torch.no_grad():
                taught = teacher(**teacher_inputs, **wanted)
            hidden = mean_over_layers(said.hidden_states, taught.hidden_states, spans)
            attention = mean_over_layers(said.attentions, taught.attentions, spans)
            prediction = nn.functional.cross_entropy(student.classifier(said.pooler_output), labels)
            total = common.ALPHA * hidden + common.BETA * attention + prediction
            optimizer.zero_grad()
            total.backward()
            norm = nn.utils.clip_grad_norm_(student.parameters(), common.MAX_GRAD_NORM)
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
        run.validated(measure(student, watched, threshold), student)
    run.trained()

    test = None
    if arguments.test and run.validations:
        student.load_state_dict(torch.load(arguments.output))
        tested = DataLoader(Notes(arguments.test, *tokenizers), arguments.batch_size, collate_fn=collate)
        test = measure(student, tested, threshold)
    run.report(PROGRAM_STARTED, test)


if __name__ == "__main__":
    main()
