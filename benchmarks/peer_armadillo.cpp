// Armadillo's gmm_full and gmm_diag for benchmarks/peers.py: answers lines from standard input with lines.
//   version                               -> the version
//   rows PATH N D                         -> ok; float64, feature by feature
//   fit full|diag PATH K ITERATIONS       -> iterations; PATH: weights, means, covariances
//   score                                 -> log-likelihood of the rows under the last fit
// SPDX-License-Identifier: BSD-3-Clause
#include <armadillo>
#include <iomanip>
#include <iostream>
#include <sstream>

static arma::vec numbers(const std::string &path) {
    arma::vec values;
    values.load(path, arma::raw_binary);
    return values;
}

int main() {
    arma::mat X;
    arma::gmm_full full;
    arma::gmm_diag diag;
    bool is_full = true;
    std::string line, word, path, family;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        words >> word;
        if (word == "version") {
            std::cout << arma::arma_version::as_string() << std::endl;
        } else if (word == "rows") {
            arma::uword N, D;
            words >> path >> N >> D;
            X = arma::reshape(numbers(path), N, D).t();
            std::cout << "ok" << std::endl;
        } else if (word == "fit") {
            arma::uword K, n_iter;
            words >> family >> path >> K >> n_iter;
            const arma::uword D = X.n_rows;
            const arma::vec start = numbers(path);
            const arma::rowvec weights = start.head(K).t();
            const arma::mat means = arma::reshape(start.subvec(K, K + K * D - 1), D, K);
            const arma::vec rest = start.tail(start.n_elem - K - K * D);
            bool done;
            is_full = family == "full";
            if (is_full) {
                full.set_params(means, arma::cube(rest.memptr(), D, D, K), weights);
                done = full.learn(X, K, arma::maha_dist, arma::keep_existing, 0, n_iter, 0, false);
            } else {
                diag.set_params(means, arma::reshape(rest, D, K), weights);
                done = diag.learn(X, K, arma::maha_dist, arma::keep_existing, 0, n_iter, 0, false);
            }
            std::cout << (done ? n_iter : 0) << std::endl;
        } else if (word == "score") {
            const double mean = is_full ? full.avg_log_p(X) : diag.avg_log_p(X);
            std::cout << std::setprecision(17) << mean * static_cast<double>(X.n_cols) << std::endl;
        }
    }
}
