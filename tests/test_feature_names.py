"""Names of columns stay with what is fitted, wherever rows come from, and rows with other names are refused."""

import numpy as np
import pytest

import fastgmm
from fastgmm import GaussianMixture, plot
from fastgmm.selection import bootstrap_parameters, merge_components, standard_errors
from fastgmm.sources import ArraySource, BatchSource

pd = pytest.importorskip("pandas")

OTHERS = "feature names should match"


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(-4, 1, (40, 2)), rng.normal(4, [1, 3], (40, 2))])
    return pd.DataFrame(X, columns=["width", "height"])


def rows_of(kind, frame, folder):
    """The same rows in another place."""
    path = folder / "rows.csv"
    frame.to_csv(path, index=False)
    return {
        "frame": lambda: frame,
        "file": lambda: path,
        "array source": lambda: ArraySource(frame),
        "batches": lambda: BatchSource([frame[:50], frame[50:]]),
    }[kind]()


@pytest.mark.parametrize("kind", ["frame", "file", "array source", "batches"])
def test_fits_keep_names(frame, tmp_path, kind):
    X, names = rows_of(kind, frame, tmp_path), ("width", "height")
    result = fastgmm.fit(X, 2, random_state=0)
    assert result.mixture.feature_names == names
    assert tuple(GaussianMixture.from_result(result).feature_names_in_) == names
    assert tuple(GaussianMixture(2, random_state=0).fit(X).feature_names_in_) == names
    found = fastgmm.select(X, 2, covariance_type="EII", random_state=0)
    assert found.chosen.mixture.feature_names == tuple(found.best.feature_names_in_) == names


@pytest.mark.parametrize("options", [{"max_memory": "1 GB"}, {"max_memory": "1 GB", "progress": True}])
def test_fits_that_read_blocks_keep_names(frame, options):
    assert fastgmm.fit(frame, 2, **options).mixture.feature_names == ("width", "height")


def test_rows_with_gaps_have_names(frame):
    frame.loc[3, "width"] = np.nan
    assert fastgmm.fit(frame, 2, missing="em").mixture.feature_names == ("width", "height")


def test_a_file_in_another_order_is_refused_by_estimators(frame, tmp_path):
    model = GaussianMixture(2, random_state=0).fit(frame)
    path = tmp_path / "turned.csv"
    frame[["height", "width"]].to_csv(path, index=False)
    for use in (model.predict, model.predict_proba, model.score_samples, model.score, model.bic):
        with pytest.raises(ValueError, match=OTHERS):
            use(path)
    model.fit(rows_of("file", frame, tmp_path))
    with pytest.raises(ValueError, match=OTHERS):
        model.predict(frame[["height", "width"]])


@pytest.mark.parametrize("header", [None, "npy"])
def test_files_without_names_go_by_position(frame, tmp_path, header):
    path = tmp_path / ("rows.npy" if header else "rows.csv")
    if header:
        np.save(path, frame.to_numpy())
    else:
        frame.to_csv(path, index=False, header=False)
    assert fastgmm.fit(path, 2, random_state=0).mixture.feature_names is None
    assert not hasattr(GaussianMixture(2, random_state=0).fit(BatchSource(path)), "feature_names_in_")
    mixture = fastgmm.fit(frame, 2, random_state=0).mixture
    assert mixture.score(path) == pytest.approx(mixture.score(frame), rel=1e-12)


def test_a_warm_start_goes_on_with_the_same_columns(frame):
    model = GaussianMixture(2, random_state=0, warm_start=True).fit(frame)
    with pytest.raises(ValueError, match=OTHERS):
        model.fit(frame[["height", "width"]])
    assert list(model.fit(frame.to_numpy()).fit(frame).feature_names_in_) == ["width", "height"]


@pytest.mark.parametrize("ask", [merge_components, standard_errors, bootstrap_parameters])
def test_questions_about_a_fit_refuse_other_columns(frame, ask):
    model = GaussianMixture(2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=OTHERS):
        ask(frame[["height", "width"]], model)
    with pytest.raises(ValueError, match="X has 1 features, but the mixture has 2"):
        ask(frame.to_numpy()[:, :1], model)


def test_pictures_refuse_other_columns(frame):
    pytest.importorskip("matplotlib")
    model = GaussianMixture(2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=OTHERS):
        plot.picture(model, frame[["height", "width"]])


def test_batches_have_the_same_columns(frame):
    batches = BatchSource([frame, frame[["height", "width"]]])
    with pytest.raises(ValueError, match=r"batch 1 .* has the columns \['height', 'width'\], but the first has \['wid"):
        fastgmm.fit(batches, 2)
    fastgmm.fit(BatchSource([frame, frame.to_numpy()]), 2, random_state=0)  # by position


def test_a_frame_is_one_batch(frame):
    with pytest.raises(TypeError, match=r"X is a data frame, which is one batch: give \[X\], or X itself to a fit"):
        BatchSource(frame)
    assert fastgmm.fit(BatchSource([frame]), 2, random_state=0) == fastgmm.fit(frame, 2, random_state=0)


def test_columns_without_a_common_type_are_a_type_error():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1.0, 2.0], "when": pa.array([1, 2], pa.timestamp("s"))})
    with pytest.raises(TypeError, match="X must be a rectangular array of numbers, but"):
        fastgmm.fit(table)


def test_a_path_where_rows_are_needed_is_a_type_error():
    with pytest.raises(TypeError, match="X must be an array or a data frame, got str"):
        fastgmm.fit([[0.0], [2.0]]).mixture.impute("rows.csv")
