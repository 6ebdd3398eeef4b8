# mclust for benchmarks/sweep.py.
#   Rscript peer_sweep.R data NAME OUT.csv   writes a data set of R or mclust
#   Rscript peer_sweep.R fit ROWS.csv        runs Mclust: seconds, model, components, BIC (mclust's sign), version
suppressPackageStartupMessages(library(mclust))

words <- commandArgs(trailingOnly = TRUE)
if (words[1] == "data") {
    data(list = words[2])
    rows <- get(words[2])
    write.csv(rows[sapply(rows, is.numeric)], words[3], row.names = FALSE)
} else {
    X <- read.csv(words[2])
    seconds <- system.time(fitted <- Mclust(X, verbose = FALSE))[["elapsed"]]
    cat(sprintf("%.6f %s %d %.10g %s\n", seconds, fitted$modelName, fitted$G, fitted$bic, packageVersion("mclust")))
}
