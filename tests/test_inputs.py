from __future__ import annotations

import dataclasses
import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.inputs import Inputs, gaussian_points, load_points, mnist_images, points_with_cosine

laws = settings(derandomize=True, database=None, deadline=None, max_examples=100)


class TestInputs:
    def test_is_frozen_and_keeps_a_read_only_copy(self) -> None:
        given_points = np.array([[1.0, 0.0], [1.0, 1.0]])
        inputs = Inputs("mine", given_points, "two points")
        given_points[0, 0] = 7.0
        assert inputs.points[0, 0] == 1.0
        with pytest.raises(ValueError, match="read-only"):
            inputs.points[0, 0] = 2.0
        with pytest.raises(dataclasses.FrozenInstanceError):
            inputs.name = "other"  # type: ignore[misc]
        given_points[0, 0] = 5.0  # the caller's own array stays writable
        assert (inputs.count, inputs.input_dim) == (2, 2)

    @laws
    @given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 2**32), st.floats(-300, 300))
    def test_cosines_do_not_depend_on_scale(self, count: int, dim: int, seed: int, exponent: float) -> None:
        points = np.random.default_rng(seed).standard_normal((count, dim))
        cosines = Inputs("plain", points, "").cosines()
        scaled = Inputs("scaled", points * 10.0 ** np.linspace(-exponent, exponent, count)[:, None], "").cosines()
        expected = points @ points.T / np.outer(np.linalg.norm(points, axis=1), np.linalg.norm(points, axis=1))
        assert np.allclose(cosines, expected, rtol=0, atol=1e-14)
        assert np.allclose(cosines, scaled, rtol=0, atol=1e-14)
        assert (cosines == cosines.T).all()
        assert (np.diag(cosines) == 1.0).all()
        assert np.abs(cosines).max() <= 1.0

    def test_max_cosine_is_over_different_points(self) -> None:
        inputs = Inputs("axes", [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], "")  # type: ignore[arg-type]
        assert inputs.max_cosine() == 0.0
        assert Inputs("opposite", [[1.0], [-2.0]], "").max_cosine() == -1.0  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="one has a single point: a cosine needs at least 2"):
            Inputs("one", [[1.0]], "").max_cosine()  # type: ignore[arg-type]

    def test_rounding_gives_no_cosine_beyond_one(self) -> None:
        points = 1.0 + 1e-9 * np.random.default_rng(0).standard_normal((50, 7))
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        assert (unit @ unit.T).max() > 1.0  # what the plain product gives
        assert Inputs("close", points, "").max_cosine() == 1.0

    def test_hypothesis_of_theorem_2_is_checked(self) -> None:
        with pytest.raises(InvalidArgumentError, match="mine has identical directions in rows 0 and 2"):
            Inputs("mine", [[1, 2], [2, 1], [2, 4]], "")  # type: ignore[arg-type]

    @pytest.mark.parametrize("labels", [[1], [1.0, 2.0], [[1, 2]], ["a", "b"]])
    def test_labels_must_fit(self, labels: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"labels of mine have shape .* they must be 2 integers"):
            Inputs("mine", np.eye(2), "", labels)

    def test_labels_are_a_read_only_copy(self) -> None:
        labels = np.array([3, 4])
        inputs = Inputs("mine", np.eye(2), "", labels)
        labels[0] = 9
        assert inputs.labels is not None
        assert inputs.labels.tolist() == [3, 4]
        with pytest.raises(ValueError, match="read-only"):
            inputs.labels[0] = 1


class TestMnist:
    def test_are_real_images_with_their_digits(self) -> None:
        inputs = mnist_images(5000, seed=0)
        assert inputs.points.shape == (5000, 784)
        assert inputs.points.min() == 0.0
        assert inputs.points.max() == 1.0
        assert inputs.labels is not None
        assert np.bincount(inputs.labels).tolist() == [500] * 10
        # Images belong to their labels: the nearest class mean recognises four fifths of real digits, chance a tenth.
        means = np.stack([inputs.points[inputs.labels == digit].mean(axis=0) for digit in range(10)])
        distances = (means**2).sum(axis=1) - 2 * inputs.points @ means.T
        assert (distances.argmin(axis=1) == inputs.labels).mean() > 0.75
        assert len(np.unique(inputs.points, axis=0)) == 5000  # drawn without replacement

    def test_same_seed_same_images_and_fewer_are_the_first_of_more(self) -> None:
        ten = mnist_images(10, seed=3)
        assert (mnist_images(10, seed=3).points == ten.points).all()
        assert (mnist_images(4, seed=3).points == ten.points[:4]).all()
        assert not (mnist_images(10, seed=4).points == ten.points).all()
        assert "10 of the 5,000 MNIST images" in ten.description

    @pytest.mark.parametrize("count", [0, 5001, 2.0])
    def test_count_outside(self, count: int) -> None:
        with pytest.raises(
            InvalidArgumentError, match=r"count=.* is not allowed: it must be an integer in \[1, 5000\]"
        ):
            mnist_images(count, seed=0)

    def test_seed_is_checked(self) -> None:
        with pytest.raises(InvalidArgumentError, match="seed=-1"):
            mnist_images(1, seed=-1)


class TestGaussian:
    def test_are_standard_normal(self) -> None:
        """40,000 normals: mean and mean square within 4.6 standard errors."""
        values = gaussian_points(200, 200, seed=5).points.ravel()
        assert abs(values.mean()) * 200 < 4.6
        assert abs((values**2).mean() - 1) * 200 / math.sqrt(2) < 4.6

    def test_seed_decides(self) -> None:
        assert (gaussian_points(3, 4, seed=1).points == gaussian_points(3, 4, seed=1).points).all()
        assert not (gaussian_points(3, 4, seed=1).points == gaussian_points(3, 4, seed=2).points).any()
        assert gaussian_points(3, 4, seed=1).name == "gaussian"
        assert gaussian_points(3, 4, seed=1).description == "3 standard normal points in 4 dimensions"

    def test_shares_no_random_numbers_with_the_choice_of_images(self) -> None:
        """With one stream for both, the normals would decide which images are drawn beside them."""
        drawn = gaussian_points(1, 8, seed=6).points[0]
        assert not np.isin(np.random.default_rng(np.random.SeedSequence(6)).standard_normal(8), drawn).any()
        chosen = mnist_images(8, seed=6).labels
        images_of_unnamed_stream = np.random.default_rng(np.random.SeedSequence(6)).permutation(5000)[:8]
        assert chosen is not None
        assert (chosen != images_of_unnamed_stream // 500).any()

    def test_arguments_are_checked(self) -> None:
        with pytest.raises(InvalidArgumentError, match="count=0"):
            gaussian_points(0, 1, seed=0)
        with pytest.raises(InvalidArgumentError, match="input_dim=0"):
            gaussian_points(1, 0, seed=0)
        with pytest.raises(InvalidArgumentError, match="seed=-1"):
            gaussian_points(1, 1, seed=-1)
        with pytest.raises(InvalidArgumentError, match="gaussian has identical directions"):
            gaussian_points(3, 1, seed=0)  # on a line there are two directions


class TestChosenCosine:
    @laws
    @given(st.integers(1, 60), st.data())
    def test_every_pair_has_exactly_that_cosine(self, count: int, data: st.DataObject) -> None:
        lowest = -1.0 if count == 1 else -1 / (count - 1)
        cosine = data.draw(st.floats(lowest, 1 - 1e-12))
        inputs = points_with_cosine(count, cosine)
        gram = (exact := inputs.points.astype(np.longdouble)) @ exact.T  # no rounding of the sums
        expected = np.full((count, count), cosine)
        np.fill_diagonal(expected, 1.0)
        assert np.abs(gram - expected).max() <= 8 * np.finfo(np.float64).eps
        if count > 1:
            assert inputs.max_cosine() == pytest.approx(cosine, abs=8 * np.finfo(np.float64).eps)

    @pytest.mark.parametrize("count", [2, 3, 4, 7, 50])
    def test_simplex_and_nearly_equal_directions(self, count: int) -> None:
        simplex = points_with_cosine(count, -1 / (count - 1))
        assert np.abs(simplex.points.sum(axis=0)).max() < 1e-7  # their sum is the root of a rounding error
        assert points_with_cosine(count, 1 - 1e-15).count == count
        assert points_with_cosine(count, 0.0).points.tolist() == np.eye(count).tolist()

    def test_more_dimensions_change_no_cosine(self) -> None:
        inputs = points_with_cosine(3, 0.9, input_dim=7)
        assert inputs.points.shape == (3, 7)
        assert (inputs.cosines() == points_with_cosine(3, 0.9).cosines()).all()
        assert inputs.description == "3 points in 7 dimensions, any two with cosine 0.9"

    def test_refusals(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"cosine=-0\.6 is not allowed for count=3: .* = -0\.5, where"):
            points_with_cosine(3, -0.6)
        with pytest.raises(InvalidArgumentError, match=r"cosine=1\.0 is not allowed: .* in \[-1, 1\)"):
            points_with_cosine(3, 1.0)
        with pytest.raises(InvalidArgumentError, match="input_dim=2 is not allowed for count=3"):
            points_with_cosine(3, 0.5, input_dim=2)
        with pytest.raises(InvalidArgumentError, match="count=0"):
            points_with_cosine(0, 0.5)
        with pytest.raises(InvalidArgumentError, match="input_dim=0"):
            points_with_cosine(1, 0.5, input_dim=0)


def saved(path: Path, array: Any, **options: Any) -> Path:
    np.save(path, array, **options)
    return path


class TestFile:
    @pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", "f2", "i8", "u1", "g"])
    def test_real_types_become_float64(self, tmp_path: Path, dtype: str) -> None:
        values = np.array([[1, 2, 3], [3, 2, 1]])
        inputs = load_points(saved(tmp_path / "points.npy", values.astype(dtype)))
        assert inputs.points.dtype == np.float64
        assert inputs.points.tolist() == values.tolist()
        assert inputs.name == "points.npy"
        assert "2 points of file" in inputs.description

    def test_paths_may_be_text_with_spaces_and_any_script(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "été 数据 points.npy", np.eye(3))
        assert load_points(str(path)).points.tolist() == np.eye(3).tolist()

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
    def test_every_version_and_order(self, tmp_path: Path, order: str, version: tuple[int, int]) -> None:
        values = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], order=order)  # type: ignore[call-overload]
        with (tmp_path / "points.npy").open("wb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # numpy notes that old readers cannot read newer versions
            np.lib.format.write_array(stream, values, version=version)
        assert load_points(tmp_path / "points.npy").points.tolist() == values.tolist()

    def test_the_file_may_change_afterwards(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "points.npy", np.eye(2))
        inputs = load_points(path)
        saved(path, 2 * np.eye(2))
        assert inputs.points.tolist() == np.eye(2).tolist()

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidArgumentError, match=r"file '.*gone\.npy' does not exist or is not an ordinary file"):
            load_points(tmp_path / "gone.npy")
        with pytest.raises(InvalidArgumentError, match="does not exist or is not an ordinary file"):
            load_points("/dev/zero")
        with pytest.raises(InvalidArgumentError, match="is a directory"):
            load_points(tmp_path)
        with pytest.raises(InvalidArgumentError, match="path=None is not allowed"):
            load_points(None)  # type: ignore[arg-type]

    def test_not_readable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = saved(tmp_path / "points.npy", np.eye(2))

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(InvalidArgumentError, match="cannot be read: Permission denied"):
            load_points(path)

    def test_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = saved(tmp_path / "points.npy", np.eye(2))

        def refuse(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(np.lib.format, "open_memmap", refuse)
        with pytest.raises(InvalidArgumentError, match="too large for the memory of this machine"):
            load_points(path)

    @pytest.mark.parametrize(
        ("content", "match"),
        [(b"", "is empty"), (b"1,2\n3,4\n", "is not a .npy file"), (b"PK\x03\x04", "is not a .npy")],
    )
    def test_not_npy(self, tmp_path: Path, content: bytes, match: str) -> None:
        (tmp_path / "points.npy").write_bytes(content)
        with pytest.raises(InvalidArgumentError, match=match):
            load_points(tmp_path / "points.npy")

    def test_pickled_objects_are_never_loaded(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "executed",))

        path = saved(tmp_path / "points.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
        with pytest.raises(InvalidArgumentError, match="holds pickled Python objects, which are never loaded"):
            load_points(path)
        assert not (tmp_path / "executed").exists()
        np.load(path, allow_pickle=True)  # the bomb is a real one
        assert (tmp_path / "executed").exists()

    @pytest.mark.parametrize("dtype", ["c16", "U3", "M8[D]", [("a", "f8")]])
    def test_not_real_numbers(self, tmp_path: Path, dtype: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="must hold real numbers"):
            load_points(saved(tmp_path / "points.npy", np.zeros((2, 2), dtype=dtype)))

    @pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0), (1, 2, 3)])
    def test_wrong_shape(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        with pytest.raises(InvalidArgumentError, match=r"has shape \(.*\): it must have shape \(N, m\)"):
            load_points(saved(tmp_path / "points.npy", np.ones(shape)))

    @pytest.mark.parametrize(
        ("points", "match"),
        [
            ([[1.0, math.nan], [1.0, 2.0]], r"points\.npy has NaN or infinity in row 0"),
            ([[1.0, 2.0], [0.0, 0.0]], r"points\.npy has a zero row, row 1"),
            ([[1.0, 2.0], [2.0, 1.0], [3.0, 6.0]], r"points\.npy has identical directions in rows 0 and 2"),
            (np.array([["1e4000", "1"]]).astype(np.longdouble), r"points\.npy has NaN or infinity in row 0"),
        ],
    )
    def test_wrong_points(self, tmp_path: Path, points: Any, match: str) -> None:
        with pytest.raises(InvalidArgumentError, match=match):
            load_points(saved(tmp_path / "points.npy", points))

    @pytest.mark.parametrize("shape", ["(2, 3)", "(9999999999999, 5)", "(99999999999999999999999999, 5)", "(True, 9)"])
    def test_cut_off(self, tmp_path: Path, shape: str) -> None:
        """A header that promises terabytes is refused at once, and so is one number too few."""
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
        header += b" " * (-(len(header) + 11) % 64) + b"\n"
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(5 * 8)
        (tmp_path / "points.npy").write_bytes(content)
        with pytest.raises(InvalidArgumentError, match="is cut off: it holds less than its header promises"):
            load_points(tmp_path / "points.npy")

    @settings(laws, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(st.integers(0, 127), st.sampled_from(b"()[]{},'0123456789-:<fiO\x00\xff")), max_size=4))
    def test_a_damaged_header_gives_a_sentence(self, tmp_path: Path, damage: list[tuple[int, int]]) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.random.default_rng(0).standard_normal((3, 4)))
        content = bytearray(buffer.getvalue())
        for position, byte in damage:
            content[position] = byte
        (tmp_path / "points.npy").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # numpy takes a second look at what Python 2 may have written
            try:
                assert load_points(tmp_path / "points.npy").count >= 1
            except InvalidArgumentError as error:
                sentence = str(error)
            else:
                return
        assert "points.npy" in sentence
