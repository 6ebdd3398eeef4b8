# The Gaussian of largest likelihood for rows with gaps: lavaan's EM for the saturated model.
# Rscript peer_lavaan.R rows.csv  ->  mean, then the rows of the covariance, then the version, one line each
suppressMessages(library(lavaan))
rows <- read.csv(commandArgs(trailingOnly = TRUE)[1], na.strings = "nan")
fit <- lavCor(rows, missing = "ml", output = "fit", se = "none", em.h1.iter.max = 100000L, em.h1.tol = 1e-12)
found <- fit@SampleStats@missing.h1[[1]]
cat(sprintf("%.17g", found$mu), "\n")
for (i in seq_len(ncol(found$sigma))) cat(sprintf("%.17g", found$sigma[i, ]), "\n")
cat(as.character(packageVersion("lavaan")), "\n")
