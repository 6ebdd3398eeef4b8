"""Benchmarks: problems x libraries, speed and equality of the answer in one table.

    pip install -e '.[bench]' && python -m benchmarks            # the whole grid; rewrites the README's table
    python -m benchmarks --quick --only iteration                # small sizes, nothing stored
    python -m benchmarks --check                                 # does the README show the stored results?
    python -m benchmarks.grid                                    # single iterations over a grid of shapes
    python -m benchmarks.instructions                            # instructions of the leaves, against the recorded ones
    python -m benchmarks.passes                                  # passes until EM converges, plain and accelerated
    python -m benchmarks.optima                                  # where fits end, and how soon, beside two others
    pytest benchmarks/test_kernels.py --benchmark-enable         # the passes alone, in GFMA/s

==================  =====================================================================================
`problems.py`       named data sets, their K and covariance types, and the start that every library gets
`libraries.py`      one adapter per library: fit, score, k-means
`one_dal.py`       the adapter for oneDAL's em_gmm, used where daal4py is installed
`measure.py`        the clock: equality first, interleaved rounds, medians and pairwise ratios
`tasks.py`          what is measured: iteration, default fit, start, scoring, peak memory
`memory.py`         the child process that measures peak memory beyond the data
`machine.py`        what the numbers were measured on
`environment.py`    variables that must not be set while a library is timed
`report.py`         results <-> files and the README's table
`run.py`            the command line
`peers.py`          adapters of further libraries, for the grid: peer_mclust.R, peer_armadillo.cpp
`cells.py`          the kernel grid: shapes, and how single iterations are watched
`grid_results.py`   what the grid has measured, and figures made of it
`targets.py`        what the grid's figures are meant to reach
`grid_page.py`      figures and targets -> docs/performance*.md
`grid.py`           the command line of the grid
`passes.py`         passes to the optimum -> docs/convergence.md
`optima.py`         optima of all libraries' own fits, and the time they take -> docs/optima.md
`races.py`           what races and moves of starts gain -> docs/starts.md
`instructions.py`   instructions of the leaves, counted by valgrind: instructions.json, leaves.c
`results/`          results.json (every single time), results.csv (medians), machine.json; grid_*.json
==================  =====================================================================================

Adding a library is one adapter in `libraries.AVAILABLE`; adding a problem is one entry in `problems.PROBLEMS`.
"""
