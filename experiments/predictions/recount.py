"""Counts the AUROC of a table of docs/results.md or docs/performance.md again: per fold by scikit-learn, the mean over the folds, and over the seeds.

The files are what `dsgkd grid FILE --finished --predictions OUT.parquet` wrote of experiments/FILE.toml: no text of a note in them.
dsgkd weighs each fold by its pairs of a positive and a negative, so that the last digit may differ by one.

    pip install pandas pyarrow scikit-learn
    python3 experiments/predictions/recount.py experiments/predictions/*.parquet
"""

import sys

import pandas
from sklearn.metrics import roc_auc_score

for file in sys.argv[1:]:
    said = pandas.read_parquet(file)
    probability = [column for column in said.columns if column.startswith("probability_")][-1]
    positive = said["label"] == probability.removeprefix("probability_")
    said = said.assign(positive=positive, score=said[probability])
    trainings = said.groupby(["condition", "arm", "seed", "fold"])[["positive", "score"]]
    folds = trainings.apply(lambda rows: roc_auc_score(rows["positive"], rows["score"]))
    seeds = folds.groupby(level=["condition", "arm", "seed"]).mean()
    print(file)
    print(seeds.groupby(level=["condition", "arm"]).agg(["mean", "std"]).round(3).to_string())
