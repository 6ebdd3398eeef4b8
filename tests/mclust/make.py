"""Makes reference.npz and prior.npz, which test_mclust.py and test_prior.py read, from mclust itself.

It needs R and mclust (apt-get install r-cran-mclust):
    python tests/mclust/make.py reference
    python tests/mclust/make.py prior

The file holds, for each data set, its rows and labels, and for each of its structures what the script of its name
computes. Rows of data sets that come with scikit-learn or the examples are read there and not stored.
"""

import csv
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from mclust_sets import PRIOR, SHARED  # noqa: E402


def main(script):
    """Run a script in R on all data sets and store what it says."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, load in (PRIOR if script == "prior" else SHARED).items():
            X, labels = load()
            np.savetxt(folder / f"{name}.rows.csv", X, fmt="%.17g", delimiter=",")
            np.savetxt(folder / f"{name}.labels.csv", labels + 1, fmt="%d")
        subprocess.run(["Rscript", "--vanilla", HERE / f"{script}.R", folder], check=True)
        found = defaultdict(list)
        for name, structure, what, value in csv.reader((folder / "values.csv").read_text().splitlines()):
            if what == "version":
                version = structure
            else:
                found[f"{name}/{structure}/{what}"].append(float("nan" if value == "NA" else value))
        stored = {key: np.array(values) for key, values in found.items()}
        for rows in sorted(folder.glob("*.rows.csv")):
            name = rows.name.removesuffix(".rows.csv")
            if name not in PRIOR:
                stored[f"{name}/rows"] = np.loadtxt(rows, delimiter=",", ndmin=2)
                stored[f"{name}/labels"] = np.loadtxt(folder / f"{name}.labels.csv", dtype=np.int8) - 1
        np.savez_compressed(HERE / f"{script}.npz", version=np.array(version), **stored)


if __name__ == "__main__":
    main(sys.argv[1])
