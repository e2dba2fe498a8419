"""Rows of numbers from files: the same whatever they come as, each on one side of the split, and no other thing is taken for one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen import data
from tinygen.data import DataError, points

finite = st.floats(-(2.0**99), 2.0**99, width=32)
tables = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: hnp.arrays(np.float32, (shape[0] + 1, shape[1]), elements=finite)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("points")


def rows(*arrays):
    return sorted(map(tuple, np.concatenate(arrays).tolist()))


@given(
    table=tables,
    kind=st.sampled_from(["npy", "npz", "a name", ",", ";", "\t", " "]),
    head=st.booleans(),
    test=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_split_is_a_partition_of_the_rows_of_the_file(folder, table, kind, head, test, seed):
    if kind == "npy":
        np.save(file := folder / "x.npy", table)
    elif kind == "npz":
        np.savez(file := folder / "x.npz", table)
    elif kind == "a name":
        np.savez(file := folder / "x.npz", other=np.zeros(3), points=table)
    else:
        file = folder / "x.csv"
        names = kind.join(f"column{i}" for i in range(table.shape[1]))
        np.savetxt(file, table, "%.9g", kind, header=names if head else "", comments="")
    train, tests = data.load_points(file, test, seed)
    n = len(table)
    assert train.dtype == tests.dtype == np.float32
    assert (len(train), len(tests)) == (n - len(tests), min(max(round(test * n), 1), n - 1))
    assert rows(train, tests) == rows(table)
    for part, again in zip((train, tests), data.load_points(file, test, seed), strict=True):
        np.testing.assert_array_equal(part, again)


def test_no_row_is_in_both_parts(folder):
    np.save(folder / "x.npy", np.arange(1000.0)[:, None])
    for seed in range(5):
        train, tests = data.load_points(folder / "x.npy", seed=seed)
        assert not {*train.ravel()} & {*tests.ravel()} and len(tests) == 200


def test_a_files_own_split_is_kept(folder):
    np.savez(folder / "x.npz", train=np.arange(6.0).reshape(3, 2), test=-np.ones((1, 2)))
    train, tests = data.load_points(folder / "x.npz")
    np.testing.assert_array_equal(train, np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(tests, -np.ones((1, 2)))


@given(
    array=hnp.arrays(
        st.sampled_from([np.int8, np.uint16, np.int64, np.float16, ">f8"]), (3, 2), elements={"min_value": 0}
    )
)
def test_numbers_of_any_type(folder, array):
    np.save(folder / "x.npy", array)
    with np.errstate(over="ignore"):
        wanted = array.astype(np.float32)
    if np.isfinite(wanted).all():
        assert rows(*data.load_points(folder / "x.npy")) == rows(wanted)


REFUSED = {
    "NaN": (np.array([[0, 1], [0, np.nan], [1, 1]]), "1 of 3 rows .* NaN or infinite .* row 1: nan in column 1"),
    "infinity": (np.array([[0, 1], [0, -np.inf]]), "row 1: -inf in column 1"),
    "overflow": (np.array([[0, 1], [1e300, 0]]), "row 1: 1e.300 in column 0"),
    "complex": (np.ones((3, 2), complex), "dtype '<c16'"),
    "dates": (np.zeros((3, 2), "M8[s]"), "integers, floats or booleans"),
    "texts": (np.array([["a", "b"]]), "integers, floats or booleans"),
    "records": (np.zeros((3, 2), [("a", "f4")]), "holds records"),
    "booleans": (np.ones((3, 2), bool), "got bool"),
    "images": (np.ones((3, 2, 2)), r"got shape \(3, 2, 2\)"),
    "one number": (np.ones(()), r"got shape \(\)"),
    "nothing": (np.ones((0, 2)), r"got shape \(0, 2\)"),
    "no column": (np.ones((3, 0)), r"got shape \(3, 0\)"),
    "one row": (np.ones((1, 2)), "1 row is too few"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_what_is_no_row_of_numbers_is_refused(folder, name, suffix):
    array, what = REFUSED[name]
    file = folder / f"mine.{suffix}"
    np.save(file, array) if suffix == "npy" else np.savez(file, points=array)
    with pytest.raises(DataError, match=rf"mine\.{suffix}.*{what}"):
        data.load_points(file)


TEXTS = {
    "": "no row in it",
    "# nothing\n\n": "no row in it",
    "a,b\n": "no row of numbers",
    "1,2\n3\n": "number of columns changed",
    "1,2\n3,x\n": "'x'",
    "1,2\n3,\n": "as many in every row",
    "1,x\n3,4\n": "'x', which is none",
    "a,b,c\n1,2\n3,4\n": "3 names or numbers in the first row, 2 in the others",
    "1_0,2\n3,4\n": "'1_0', which is none",
    "\0\0\0": "it is an unknown file",
    "x" * 200_000 + ",1\n1,2": "1 names or numbers in the first row, 2 in the others",
    "1,2\n3,nan\n": "NaN",
}


@pytest.mark.parametrize("text", TEXTS)
def test_tables_that_are_none_are_refused(folder, text):
    (folder / "mine.csv").write_bytes(text.encode())
    with pytest.raises(DataError, match=rf"mine\.csv.*{TEXTS[text]}"):
        data.load_points(folder / "mine.csv")


@given(text=st.text(st.sampled_from("019.,;-e+nai \t\n\r\"#'\x00_xäé"), max_size=40) | st.binary(max_size=60))
def test_any_text_is_read_or_refused_by_name(folder, text):
    file = folder / "mine.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        table = data.read_csv(file)
    except DataError as error:
        assert str(file) in str(error)
    else:
        assert table.ndim == 2 and table.dtype == np.float64 and table.size


def test_text_is_read_as_other_programs_write_it(folder):
    (folder / "x.csv").write_bytes('\ufeff"height","width"\r\n"1.5",2\r\n\r\n3,4e0\r\n'.encode())
    np.testing.assert_array_equal(data.read_csv(folder / "x.csv"), [[1.5, 2], [3, 4]])
    (folder / "x.txt").write_text("# x y\n1 2\n3   4\n")
    np.testing.assert_array_equal(data.read_csv(folder / "x.txt"), [[1, 2], [3, 4]])


def test_the_limit_is_an_option_that_the_error_names(folder):
    (folder / "x.csv").write_text("1,2\n" * 100)
    with pytest.raises(DataError, match=r"refused above max_bytes=1000"):
        data.read_csv(folder / "x.csv", max_bytes=1000)
    np.save(folder / "x.npy", np.ones((100, 2), np.int8))
    with pytest.raises(DataError, match=r"\(100, 2\) as float32, 800 bytes; refused above max_bytes=799"):
        data.load_points(folder / "x.npy", max_bytes=799)
    assert len(data.load_points(folder / "x.npy", max_bytes=800)[0]) == 80


def test_other_files_say_what_is_read(folder):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        data.load_points(folder / "nowhere")
    (folder / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match=rf"a file {', '.join(points.SUFFIXES)} with rows of numbers is expected"):
        data.load_points(folder / "x.png")
    with pytest.raises(DataError, match="one array called points"):
        np.savez(folder / "x.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
        data.load_points(folder / "x.npz")
    for options in ({"test": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="load_points"):
            data.load_points(folder / "x.npz", **options)
