# What mclust makes of some data sets under its conjugate prior: see make.py, which runs this.
#
#     Rscript prior.R FOLDER
#
# As reference.R, with scalars and matrices of the prior given, so that nothing depends on defaults:
#   mstep     means (feature by feature), then covariances, after one M-step from soft labels
#   em        the same where EM ends that starts from the labels
#   loglik    log-likelihood there, without the prior
#   default   the scale that defaultPrior takes

suppressPackageStartupMessages(library(mclust))
folder <- commandArgs(trailingOnly = TRUE)[1]
path <- function(...) file.path(folder, paste0(...))
tight <- emControl(tol = c(1e-14, 1e-14), itmax = c(20000, 20000))
values <- file(path("values.csv"), "w")
note <- function(...) cat(paste(..., sep = ","), "\n", sep = "", file = values)
number <- function(x) sprintf("%.17g", x)
asGiven <- function(data, G, modelName, ...) list(...) # defaultPrior would go on with its own degrees of freedom

for (file in list.files(folder, "rows.csv$")) {
  name <- sub(".rows.csv", "", file)
  X <- as.matrix(read.csv(path(file), header = FALSE))
  labels <- read.csv(path(name, ".labels.csv"), header = FALSE)[[1]]
  hard <- unmap(labels)
  K <- ncol(hard)
  soft <- 0.8 * hard + 0.2 / K
  d <- ncol(X)
  all <- function(fit) {
    variance <- fit$parameters$variance
    sigma <- if (d == 1) rep(variance$sigmasq, length.out = K) else variance$sigma
    c(as.vector(fit$parameters$mean), as.vector(sigma))
  }
  for (structure in if (d == 1) c("E", "V") else c("EII", "VII", "EEI", "VVI", "EEE", "VVV")) {
    default <- defaultPrior(X, G = K, modelName = structure)
    for (value in as.vector(default$scale)) note(name, structure, "default", number(value))
    scale <- if (structure %in% c("EEE", "VVV")) 0.3 * default$scale + diag(0.1 * diag(default$scale), d) else 0.7 * default$scale
    prior <- priorControl("asGiven", shrinkage = 0.5, mean = colMeans(X) / 2, dof = d + 4, scale = scale)
    fit <- suppressWarnings(mstep(data = X, modelName = structure, z = soft, prior = prior))
    for (value in all(fit)) note(name, structure, "mstep", number(value))
    fit <- suppressWarnings(me(data = X, modelName = structure, z = hard, prior = prior, control = tight))
    for (value in all(fit)) note(name, structure, "em", number(value))
    note(name, structure, "loglik", number(fit$loglik))
    note(name, structure, "bic", number(bic(structure, fit$loglik, nrow(X), d, K)))
  }
}
note("mclust", as.character(packageVersion("mclust")), "version", 0)
close(values)
