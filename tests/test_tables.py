"""Tables: every usual form of text, NPY and Parquet is read; what cannot be is refused with its place."""

import io
import os
import sys

import numpy as np
import pytest

from fastgmm.io import files, tables
from fastgmm.io.blocks import open_blocks

ROWS = np.array([[1.5, 2.0, -3e-3], [4.0, 5.25, 6.0]])


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


GAP = 'fill in or remove such rows first, or, if it is one of data, take it with missing="em" (--missing em)'


def refused(path, message, **options):
    """The table is refused; the message is `message`, with the file's name for {}."""
    with pytest.raises(tables.TableError) as caught:
        tables.read_table(path, **options)
    assert str(caught.value) == message.format(path)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1.5,2,-3e-3\n4,5.25,6\n",
        "a,b,c\r\n1.5,2,-3e-3\r\n4,5.25,6",
        '"a","b","c"\n1.5,"2",-3e-3\n4,5.25,6\n\n\n',
        "\ufeffa;b;c\n1.5;2;-3e-3\n4;5.25;6\n",
        "a\tb\tc\n1.5\t2\t-3e-3\n4\t5.25\t6\n",
        "a b  c\n1.5   2 -3e-3\n  4 5.25 6 \n \n",
        "\na, b, c\n1.5, 2, -3e-3\n\n4, 5.25, 6\n   \n",
        "# a b c\n1.5 2 -3e-3\n4 5.25 6\n",
        ",a,b,c\n0,1.5,2,-3e-3\n1,4,5.25,6\n",
        '"","a","b","c"\n"one",1.5,2,-3e-3\n"two",4,5.25,6\n',
        "a,b,c,\n1.5,2,-3e-3,\n4,5.25,6,\n",
        "a\tb\tc\n1.5\t2\t-3e-3\n4\t5.25\t6\n".encode("utf-16"),
    ],
)
def test_forms_of_text(write, text):
    table = tables.read_table(write(text))
    assert table.names == ["a", "b", "c"]
    assert table.named
    assert table.weights is None
    assert table.values.dtype == np.float64
    assert table.values.flags.c_contiguous
    np.testing.assert_array_equal(table.values, ROWS)


def test_without_a_header_columns_are_numbered(write):
    for text in ("1.5,2,-3e-3\n4,5.25,6\n", "1.5 2 -3e-3\n4 5.25 6\n"):
        table = tables.read_table(write(text))
        assert table.names == ["x1", "x2", "x3"]
        assert not table.named
        np.testing.assert_array_equal(table.values, ROWS)


def test_one_column(write):
    for text in ("waiting time\n79\n54\n", "79\n54", "waiting\n79\n54"):
        np.testing.assert_array_equal(tables.read_table(write(text)).values, [[79], [54]])
    assert tables.read_table(write("waiting time\n79\n54\n")).names == ["waiting time"]


def test_names_with_delimiters_and_accents(write):
    assert tables.read_table(write('"width, cm",Wärme\n1,2\n')).names == ["width, cm", "Wärme"]
    assert tables.read_table(write("température,b\n1,2\n".encode("cp1252"))).names == ["température", "b"]


def test_columns_are_chosen_by_name_in_the_order_asked_for(write):
    path = write("a,species,b,w\n1,setosa,2,0.5\n3,virginica,4,2\n")
    table = tables.read_table(path, columns=["b", "a"], weights="w")
    assert table.names == ["b", "a"]
    np.testing.assert_array_equal(table.values, [[2, 1], [4, 3]])
    np.testing.assert_array_equal(table.weights, [0.5, 2])


def test_the_column_of_weights_is_no_data(write):
    table = tables.read_table(write("a,w,b\n1,0.5,2\n3,0,4\n"), weights="w", dtype="float32")
    assert table.names == ["a", "b"]
    assert table.values.dtype == np.float32
    assert table.weights.dtype == np.float64
    np.testing.assert_array_equal(table.weights, [0.5, 0])


def test_digits_survive_and_chunks_join(write):
    values = np.random.default_rng(0).normal(size=(1000, 3)) * 10.0 ** np.arange(-150, 150, 100)
    stream = io.StringIO()
    tables.write_csv(stream, dict(zip("abc", values.T, strict=True)))
    np.testing.assert_array_equal(tables.read_table(write(stream.getvalue())).values, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{} is empty"),
        ("\n \n", "{} is empty"),
        ("a,b\n", "{} has a header but no rows"),
        ("a,b\n1,2\n3\n", "{}, line 3: expected 2 fields, got 1"),
        ("a\n1\n2\n3,4\n", "{}, line 4: expected 1 field, got 2"),
        ("a,b\n1,2\n\n3,4,5\n", "{}, line 4: expected 2 fields, got 3"),
        ("a,b\n1,2\n3,\n", "{}, line 3, column 'b': the value is missing; " + GAP),
        ("a,b\n1,2\nNA,1\n", "{}, line 3, column 'a': the value ('NA') is missing; " + GAP),
        ("a,b\n1,nan\n", "{}, line 2, column 'b': the value ('nan') is missing; " + GAP),
        ("a,b\n1,-inf\n", "{}, line 2, column 'b': -inf is not finite; correct or remove such rows first"),
        ("a,b\n1,1e999\n", "{}, line 2, column 'b': 1e999 is not finite; correct or remove such rows first"),
        ("a;b\n1,5;2\n", "{}, line 2, column 'a': expected a number, got '1,5'; decimals are written with a point"),
        ("a,b\n1,2_000\n", "{}, line 2, column 'b': expected a number, got '2_000'"),
        ("a,a\n1,2\n", "{}: the column name 'a' stands for columns 1, 2; make it unique"),
        (b"a,b\n1,\0\n", "{} is not a table: expected text (CSV), NPY or Parquet, got other binary data"),
        (b"PK\x03\x04....", "{} is not a table: expected CSV, NPY or Parquet, but it is a zip archive (a model file or "
                            "a workbook)"),
        (b"\x1f\x8b......", "{} is not a table: expected CSV, NPY or Parquet, but it is compressed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(write, text, message):
    refused(write(text), message)


def test_the_line_of_a_late_error(write):
    lines = ["a,b", *(f"{j},{j}" for j in range(5000))]
    lines[4321] = "4320,many"
    refused(write("\n".join(lines)), "{}, line 4322, column 'b': expected a number, got 'many'")


def test_quoted_line_breaks_count_as_lines(write):
    path = write('a,note\n1,"two\nlines"\nx,3\n')
    refused(path, "{}, line 4, column 'a': expected a number, got 'x'", columns=["a"])


def test_an_open_quote_is_an_error_and_not_the_rest_of_the_file(write):
    for n_lines in (10, 100_000):
        with pytest.raises(tables.TableError, match="line 3"):
            tables.read_table(write('a,b\n1,2\n1,"' + "2,3\n" * n_lines))


def test_text_among_the_data_suggests_the_columns_of_numbers(write):
    path = write("a,species,b\n1,setosa,2\n3,virginica,4\n")
    assert refused(path, "{}, line 2, column 'species': expected a number, got 'setosa'").numeric == ["a", "b"]


def test_a_column_chosen_by_hand_suggests_nothing(write):
    path = write("a,species,b\n1,setosa,2\n")
    error = refused(path, "{}, line 2, column 'species': expected a number, got 'setosa'", columns=["species"])
    assert error.numeric == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["a", "z"]}, "{} has no column 'z'; its columns are a, b, w"),
        ({"weights": "z"}, "{} has no column 'z'; its columns are a, b, w"),
        ({"columns": ["a", "a"]}, "a column is asked for more than once: a, a"),
        ({"columns": ["a", "w"], "weights": "w"}, "column 'w' cannot be both data and weights"),
        ({"columns": []}, "{}: no columns of data are left to read"),
        ({"weights": "w"}, "{}, row 2, column 'w': a weight cannot be negative, got -1"),
        ({"weights": "b"}, "{}: all weights in column 'b' are zero"),
    ],
)
def test_wrong_choices_of_columns(write, options, message):
    refused(write("a,b,w\n1,0,0\n3,0,-1\n"), message, **options)


def test_many_columns_are_listed_in_short(write):
    names = [f"c{j}" for j in range(40)]
    path = write(",".join(names) + "\n" + ",".join("1" * 40))
    refused(path, "{} has no column 'z'; its columns are " + ", ".join(names[:12]) + " and 28 more", columns=["z"])


def test_numbers_too_large_for_float32(write):
    path = write("a,b\n1,2\n1,1e300\n")
    refused(path, "{}, row 2, column 'b': 1e+300 is too large for float32", dtype="float32")


def test_missing_files_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        tables.read_table(tmp_path / "none.csv")
    with pytest.raises(IsADirectoryError):
        tables.read_table(tmp_path)


def test_standard_input_and_pipes(tmp_path, monkeypatch):
    text = b"a,b\n1,2\n3,4\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    np.testing.assert_array_equal(tables.read_table("-").values, [[1, 2], [3, 4]])
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    np.testing.assert_array_equal(tables.read_table(f"/dev/fd/{reading}").values, [[1, 2], [3, 4]])
    os.close(reading)


def test_what_is_read_in_place_does_not_come_by_a_pipe(monkeypatch):
    data = io.BytesIO()
    np.save(data, ROWS)
    for magic in (data.getvalue(), b"PAR1 and so on"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(magic)))
        with pytest.raises(tables.TableError, match="standard input holds an NPY or Parquet file, which is read in"):
            tables.read_table("-")


def test_a_pipe_is_no_file_that_passes_read():
    reading, writing = os.pipe()
    os.write(writing, b"a,b\n1,2\n3,4\n")
    os.close(writing)
    with pytest.raises(tables.TableError, match="is no file but a pipe or a device, which is read once"):
        open_blocks(f"/dev/fd/{reading}")
    os.close(reading)


def test_a_pipe_is_written_to_by_its_name():
    reading, writing = os.pipe()
    files.check_writable(f"/dev/fd/{writing}")
    tables.write_table(f"/dev/fd/{writing}", {"label": np.array([0, 1])})
    assert os.read(reading, 100) == b"label\n0\n1\n"
    os.close(reading)
    os.close(writing)


class TestNpy:
    @pytest.fixture
    def save(self, tmp_path):
        def save(array, **options):
            np.save(tmp_path / "table.npy", array, **options)
            return tmp_path / "table.npy"

        return save

    @pytest.mark.parametrize("dtype", ["float64", "float32", "int32", ">f8", "float16"])
    def test_it_is_mapped_and_not_copied(self, save, dtype):
        table = tables.read_table(save(ROWS.astype(dtype)))
        assert isinstance(table.values, np.memmap)
        assert table.values.dtype == dtype
        assert table.names == ["x1", "x2", "x3"]
        assert not table.named

    def test_neighbouring_columns_stay_a_view(self, save):
        table = tables.read_table(save(ROWS), columns=["x2", "x3"], weights="x1")
        assert isinstance(table.values.base, np.memmap)
        np.testing.assert_array_equal(table.values, ROWS[:, 1:])
        np.testing.assert_array_equal(table.weights, ROWS[:, 0])

    def test_other_columns_and_dtype(self, save):
        table = tables.read_table(save(ROWS), columns=["x3", "x1"], dtype="float32")
        assert table.names == ["x3", "x1"]
        np.testing.assert_array_equal(table.values, ROWS[:, [2, 0]].astype(np.float32))

    def test_one_dimension_is_one_column(self, save):
        np.testing.assert_array_equal(tables.read_table(save(ROWS[0])).values, ROWS[0][:, None])

    def test_other_arrays_are_refused(self, save):
        refused(save(ROWS.astype(complex)), "{}: expected an array of real numbers, got dtype complex128")
        refused(save(ROWS.astype(str)), "{}: expected an array of real numbers, got dtype <U32")
        refused(save(ROWS[None]), "{}: expected an array of rows and columns, got 3 dimensions (1, 2, 3)")
        refused(save(ROWS[:0]), "{} is empty: its array has shape (0, 3)")

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000000000000,), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (2,, }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': " + "[" * 3000,
            "{'descr': None, 'fortran_order': False, 'shape': (2,), }",
            "{'descr': 'O', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<f8', 'shape': (2,), }",
            "open('x')",
            "0x1shape",
            "\0",
        ],
    )
    def test_damaged_headers_are_refused(self, tmp_path, header):
        path = tmp_path / "table.npy"
        path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(64))
        with pytest.raises(tables.TableError, match="not a readable NPY file"):
            tables.read_table(path)

    def test_pickles_and_damage_are_refused(self, save):
        with pytest.raises(tables.TableError, match="not a readable NPY file"):
            tables.read_table(save(np.array([None, "x"], dtype=object), allow_pickle=True))
        path = save(ROWS)
        for length in (8, 20, 140):
            path.write_bytes(path.read_bytes()[:length])
            with pytest.raises(tables.TableError, match="not a readable NPY file"):
                tables.read_table(path)
            save(ROWS)


class TestParquet:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    @pytest.fixture
    def save(self, tmp_path):
        def save(**columns):
            self.parquet.write_table(self.pyarrow.table(columns), tmp_path / "table.parquet")
            return tmp_path / "table.parquet"

        return save

    def test_columns_weights_and_types(self, save):
        path = save(a=[1, 2], b=[0.5, 0.25], species=["x", "y"], w=[1.0, 3.0], flag=[True, False])
        table = tables.read_table(path, columns=["flag", "b", "a"], weights="w")
        assert table.names == ["flag", "b", "a"]
        assert table.named
        assert table.values.dtype == np.float64
        np.testing.assert_array_equal(table.values, [[1, 0.5, 1], [0, 0.25, 2]])
        np.testing.assert_array_equal(table.weights, [1, 3])

    def test_single_precision_is_kept(self, save):
        path = save(a=np.float32([1, 2]), b=np.float32([3, 4]))
        assert tables.read_table(path).values.dtype == np.float32
        assert tables.read_table(path, dtype="float64").values.dtype == np.float64

    def test_text_suggests_the_columns_of_numbers(self, save):
        path = save(a=[1, 2], species=["x", "y"], b=[3, 4])
        assert refused(path, "{}, column 'species': expected numbers, got string").numeric == ["a", "b"]

    def test_gaps_and_infinities(self, save):
        refused(
            save(a=[1.0, None]),
            "{}, row 2, column 'a': the value is missing; " + GAP,
        )
        refused(
            save(a=[1.0, np.inf]),
            "{}, row 2, column 'a': inf is not a finite float64 number; correct or remove such rows first",
        )
        refused(
            save(a=[1.0, 1e300]),
            "{}, row 2, column 'a': inf is not a finite float32 number; correct or remove such rows first",
            dtype="float32",
        )

    def test_empty_and_damaged(self, save):
        refused(save(a=np.array([], dtype=float)), "{} has columns but no rows")
        path = save(a=[1.0, 2.0])
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(tables.TableError, match="is not a readable Parquet file"):
            tables.read_table(path)

    def test_without_pyarrow_the_extra_is_named(self, save, monkeypatch):
        path = save(a=[1.0])
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        refused(path, "Parquet files need pyarrow: pip install 'fastgmm[parquet]'")


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".npy", ".parquet"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    tables.write_table(path, {"a": ROWS[:, 0], "b, c": ROWS[:, 2]})
    table = tables.read_table(path)
    np.testing.assert_array_equal(table.values, ROWS[:, [0, 2]])
    assert table.names == (["x1", "x2"] if suffix == ".npy" else ["a", "b, c"])


def test_single_precision_is_written_in_its_own_digits(tmp_path):
    tables.write_table(tmp_path / "a.csv", {"p": np.float32([0.1, 1e-30]), "label": np.array([3, 4])})
    assert (tmp_path / "a.csv").read_text() == "p,label\n0.1,3\n1e-30,4\n"


class TestReplacing:
    def test_an_error_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text("old")
        with pytest.raises(TypeError), files.replacing(path) as file:
            file.writelines([b"half", None])
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["a.csv"]

    def test_permissions_are_those_of_the_old_file_or_of_any_new_one(self, tmp_path):
        path, other = tmp_path / "a.csv", tmp_path / "other"
        other.touch()
        with files.replacing(path):
            pass
        assert path.stat().st_mode == other.stat().st_mode
        path.chmod(0o640)
        with files.replacing(path):
            pass
        assert path.stat().st_mode & 0o777 == 0o640

    def test_a_link_is_followed(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with files.replacing(tmp_path / "link") as file:
            file.write(b"x")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_bytes() == b"x"

    def test_devices_are_written_to_and_not_replaced(self):
        with files.replacing(os.devnull) as file:
            file.write(b"x")
        assert not os.path.isfile(os.devnull)

    def test_the_question_before_the_work(self, tmp_path):
        files.check_writable(tmp_path / "new.csv")
        files.check_writable(os.devnull)
        assert os.listdir(tmp_path) == []
        with pytest.raises(FileNotFoundError):
            files.check_writable(tmp_path / "none" / "new.csv")
        with pytest.raises(IsADirectoryError):
            files.check_writable(tmp_path)
