# What mclust makes of some data sets: see make.py, which runs this.
#
#     Rscript reference.R FOLDER
#
# FOLDER holds NAME.rows.csv and NAME.labels.csv (from 1) of data sets; for those that come with mclust they are written
# first. Into FOLDER/values.csv go, one number a line, for each structure:
#   mstep     covariances after one M-step from soft labels 0.8 [k = label] + 0.2 / K, column by column
#   loglik    log-likelihood where EM ends that starts from the labels
#   bic       mclust's BIC, which is better if higher
#   n         number of free parameters

suppressPackageStartupMessages(library(mclust))
folder <- commandArgs(trailingOnly = TRUE)[1]
path <- function(...) file.path(folder, paste0(...))
write <- function(x, file) write.table(format(x, digits = 17), file, sep = ",", quote = FALSE, row.names = FALSE, col.names = FALSE)

own <- list(
  diabetes = list(diabetes[, -1], diabetes$class),
  banknote = list(banknote[, -1], banknote$Status),
  thyroid = list(thyroid[, -1], thyroid$Diagnosis),
  acidity = list(matrix(acidity), ifelse(acidity < 5.5, 1, 2))
)
for (name in names(own)) {
  write(as.matrix(own[[name]][[1]]), path(name, ".rows.csv"))
  write(matrix(as.integer(factor(own[[name]][[2]]))), path(name, ".labels.csv"))
}

tight <- emControl(tol = c(1e-13, 1e-13), itmax = c(20000, 20000))
tightest <- emControl(tol = c(0, 0), itmax = c(20000, 20000)) # for single M-steps: as far as rounding lets them
values <- file(path("values.csv"), "w")
note <- function(...) cat(paste(..., sep = ","), "\n", sep = "", file = values)
number <- function(x) sprintf("%.17g", x)

for (file in list.files(folder, "rows.csv$")) {
  name <- sub(".rows.csv", "", file)
  X <- as.matrix(read.csv(path(file), header = FALSE))
  labels <- read.csv(path(name, ".labels.csv"), header = FALSE)[[1]]
  hard <- unmap(labels)
  K <- ncol(hard)
  soft <- 0.8 * hard + 0.2 / K
  structures <- if (ncol(X) == 1) c("E", "V") else mclust.options("emModelNames")
  for (structure in structures) {
    variance <- suppressWarnings(mstep(data = X, modelName = structure, z = soft, control = tightest))$parameters$variance
    sigma <- if (ncol(X) == 1) rep(variance$sigmasq, length.out = K) else variance$sigma
    for (value in as.vector(sigma)) note(name, structure, "mstep", number(value))
    fitted <- suppressWarnings(me(data = X, modelName = structure, z = hard, control = tight))
    note(name, structure, "loglik", number(fitted$loglik))
    note(name, structure, "bic", number(bic(structure, fitted$loglik, nrow(X), ncol(X), K)))
    note(name, structure, "n", nMclustParams(structure, ncol(X), K))
  }
}
note("mclust", as.character(packageVersion("mclust")), "version", 0)
close(values)
