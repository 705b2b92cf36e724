"""What cleanlab and cleanvision find alone, for `bench_inspect.py`, which runs this with the Python that has them.

    clean_python benchmarks/clean_alone.py JOBS.json ANSWERS.json

A job of "labels" or "strangers" names a file of features (N, D), and of labels (N,); its answers are the indices of all
images, the most doubtful first. A job of "copies" names features, and one of "files" paths; their answers are pairs of
indices that show the same, and for files the flags of each.
"""

import json
import sys
import warnings
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import numpy as np
from cleanlab import Datalab
from cleanlab.filter import find_label_issues
from cleanvision import Imagelab
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

FOLDS = 5
FLAGS = ("dark", "light", "blurry", "low_information", "odd_size", "odd_aspect_ratio", "grayscale")


def confident(labels: np.ndarray, probabilities: np.ndarray) -> list[int]:
    """Return all indices: first what confident learning calls wrong, then the rest by the label's probability."""
    found = find_label_issues(labels, probabilities, return_indices_ranked_by="normalized_margin").tolist()
    rest = np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable").tolist()
    return [*found, *(i for i in rest if i not in set(found))]


def doubtful(features: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, list[int]]:
    """Return the order by confident learning, of cleanlab alone and of probabilities that it is given."""
    alone = cross_val_predict(LogisticRegression(max_iter=1000), features, labels, cv=FOLDS, method="predict_proba")
    lab = Datalab(data={"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(pred_probs=alone, issue_types={"label": {}})
    return {
        "cleanlab's Datalab": np.argsort(lab.get_issues("label")["label_score"], kind="stable").tolist(),
        "cleanlab's find_label_issues": confident(labels, alone),
        "our probabilities, find_label_issues": confident(labels, probabilities),
    }


def strange(features: np.ndarray) -> list[int]:
    """Return the order of Datalab's outlier scores."""
    lab = Datalab(data={"id": list(range(len(features)))}, verbosity=0)
    lab.find_issues(features=features, issue_types={"outlier": {}})
    return np.argsort(lab.get_issues("outlier")["outlier_score"], kind="stable").tolist()


def copied(features: np.ndarray) -> list[list[int]]:
    """Return the pairs that Datalab calls near duplicates."""
    lab = Datalab(data={"id": list(range(len(features)))}, verbosity=0)
    lab.find_issues(features=features, issue_types={"near_duplicate": {}})
    issues = lab.get_issues("near_duplicate")
    sets = issues["near_duplicate_sets"][issues["is_near_duplicate_issue"]]
    return sorted({tuple(sorted((int(i), int(j)))) for i, others in sets.items() for j in others if i != j})


def looked_at(paths: list[str]) -> dict:
    """Return cleanvision's pairs of copies, and its flags of each file."""
    lab = Imagelab(filepaths=paths)
    lab.find_issues(verbose=False)
    place = {path: i for i, path in enumerate(paths)}
    sets = [names for kind in ("exact", "near") for names in lab.info[f"{kind}_duplicates"]["sets"]]
    pairs = {tuple(sorted((place[a], place[b]))) for names in sets for a, b in combinations(names, 2)}
    issues = lab.issues.reindex(paths)
    flags = [[name for name in FLAGS if row[f"is_{name}_issue"]] for _, row in issues.iterrows()]
    return {"pairs": sorted(pairs), "flags": flags}


def answer(job: dict) -> dict:
    """Return the answer to a job."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if job["kind"] == "files":
            return looked_at(job["paths"])
        arrays = np.load(job["arrays"])
        if job["kind"] == "labels":
            return doubtful(arrays["features"], arrays["labels"], arrays["probabilities"])
        return (
            {"order": strange(arrays["features"])}
            if job["kind"] == "strangers"
            else {"pairs": copied(arrays["features"])}
        )


def main() -> None:
    """Read the jobs, write the answers."""
    jobs, answers = map(Path, sys.argv[1:])
    found = [answer(job) for job in json.loads(jobs.read_text(encoding="utf-8"))]
    versions = {name: version(name) for name in ("cleanlab", "cleanvision")}
    answers.write_text(json.dumps({"versions": versions, "answers": found}), encoding="utf-8")


if __name__ == "__main__":
    main()
