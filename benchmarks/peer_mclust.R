# mclust for benchmarks/peers.py: answers lines from standard input with lines.
#   version                       -> the version
#   rows PATH N D                 -> ok; float64, feature by feature
#   fit MODEL PATH K ITERATIONS   -> iterations; PATH: weights, means, covariances
#   default MODEL K               -> log-likelihood of mclust's own fit, from its own start; NA if there is none
#   score                         -> log-likelihood of the rows under the last fit
suppressPackageStartupMessages(library(mclust))

numbers <- function(path) readBin(path, "double", file.size(path) / 8)

variance <- function(model, values, d, K) {
    form <- list(modelName = model, d = d, G = K)
    if (model == "VVV") {
        sigma <- array(values, c(d, d, K))
        c(form, list(sigma = sigma, cholsigma = array(apply(sigma, 3, chol), c(d, d, K))))
    } else if (model == "EEE") {
        Sigma <- matrix(values, d, d)
        c(form, list(Sigma = Sigma, cholSigma = chol(Sigma)))
    } else if (model == "VVI") {
        variances <- matrix(values, d, K)
        scale <- exp(colMeans(log(variances)))
        c(form, list(scale = scale, shape = sweep(variances, 2, scale, "/")))
    } else c(form, list(sigmasq = values))
}

input <- file("stdin", "r")
while (length(line <- readLines(input, 1)) > 0) {
    word <- strsplit(line, " ")[[1]]
    if (word[1] == "version") answer <- as.character(packageVersion("mclust"))
    if (word[1] == "rows") {
        X <- matrix(numbers(word[2]), as.integer(word[3]), as.integer(word[4]))
        answer <- "ok"
    }
    if (word[1] == "fit") {
        K <- as.integer(word[4])
        d <- ncol(X)
        start <- numbers(word[3])
        parameters <- list(
            pro = start[1:K], mean = matrix(start[K + seq_len(K * d)], d, K),
            variance = variance(word[2], start[-seq_len(K + K * d)], d, K))
        control <- emControl(tol = c(0, 0), itmax = rep(as.integer(word[5]), 2))
        fitted <- em(X, word[2], parameters, control = control, warn = FALSE)
        # It counts downwards where the tolerance was not reached.
        answer <- as.character(abs(as.integer(attr(fitted, "info")[["iterations"]])))
    }
    if (word[1] == "default") {
        set.seed(0)  # it samples rows for its start where they are many
        G <- as.integer(word[3])
        found <- tryCatch(Mclust(X, G = G, modelNames = word[2], verbose = FALSE), error = function(e) NULL)
        answer <- if (is.null(found)) "NA" else sprintf("%.17g", found$loglik)
    }
    if (word[1] == "score") answer <- sprintf("%.17g", fitted$loglik)
    cat(answer, "\n", sep = "")
    flush(stdout())
}
