"""How many kinds of eruptions has Old Faithful? Components, structure, and how sure that is.

python examples/choose_model.py [picture.png]
"""

import sys
from pathlib import Path

import numpy as np

import fastgmm
from fastgmm.plot import save_picture
from fastgmm.selection import bootstrap_lrt, merge_components

geyser = np.loadtxt(Path(__file__).with_name("old_faithful.csv"), delimiter=",", skiprows=1)

found = fastgmm.select(geyser, range(1, 6), random_state=0)
print(found)
if len(sys.argv) > 1:
    save_picture(found.plot(), sys.argv[1])

test = bootstrap_lrt(geyser, 2, covariance_type=found.chosen.covariance_type, n_replicates=99, random_state=0)
print(f"two components against three: p = {test.p_value:.2f}")

merging = merge_components(geyser, found.best.to_mixture())
print(f"as two clusters: {merging.groups(2)}, rows in each {np.bincount(merging.predict(geyser, 2)).tolist()}")
