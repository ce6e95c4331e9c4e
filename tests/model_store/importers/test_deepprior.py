import pickle

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from tests.model_store.importers.deepprior_files import python2_pickle, refiner_layers
from v2vpose.errors import InvalidModelError
from v2vpose.model_store.importers.deepprior import read_refiner


@pytest.fixture(scope="module")
def layers():
    return refiner_layers()


def saved(tmp_path, content):
    path = tmp_path / "net_NYU_COM_AUGMENT.pkl"
    path.write_bytes(content)
    return path


def theano(layers, crop):
    """The net as DeepPrior++ has it: true convolution, pool, bias, ReLU; float64."""
    views = ((crop, (4, 2, 1)), (crop[32:96, 32:96], (2, 2, 1)), (crop[48:80, 48:80], (2, 1, 1)))
    flat = []
    for branch, (view, pools) in enumerate(views):
        maps = view[None].astype(np.float64)
        for layer, pool in enumerate(pools):
            weight, bias = layers[f"{3 * branch + layer}-values"]
            maps = np.stack(
                [
                    sum(convolve2d(m, k, mode="valid") for m, k in zip(maps, kernel, strict=True))
                    for kernel in weight.astype(np.float64)
                ]
            )
            rows, cols = (size // pool for size in maps.shape[1:])
            maps = maps[:, : rows * pool, : cols * pool]
            maps = maps.reshape(len(maps), rows, pool, cols, pool).max(axis=(2, 4))
            maps = np.maximum(maps + bias[:, None, None], 0)
        flat.append(maps.reshape(-1))
    x = np.concatenate(flat)
    for number in (9, 11, 13):
        weight, bias = layers[f"{number}-values"]
        x = x @ weight.astype(np.float64) + bias
        if number != 13:
            x = np.maximum(x, 0)
    return x


def offset(refiner, crop):
    with torch.no_grad():
        return refiner(torch.from_numpy(crop)[None, None])[0].numpy()


def test_a_refiner_gives_what_theano_computed(tmp_path, layers):
    crop = np.random.default_rng(2).uniform(-1, 1, (128, 128)).astype(np.float32)
    expected = theano(layers, crop)
    assert np.abs(expected).max() > 0.05
    path = saved(tmp_path, python2_pickle(layers))
    refiner = read_refiner(path, y_up=False)
    np.testing.assert_allclose(offset(refiner, crop), expected, atol=1e-5)
    assert not refiner.training
    upward = offset(read_refiner(path, y_up=True), crop)
    np.testing.assert_allclose(upward, expected * (1, -1, 1), atol=1e-5)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_python_3s_pickles_and_fortran_arrays_are_read_alike(tmp_path, layers, protocol):
    columns = {**layers, "9-values": [np.asfortranarray(w) for w in layers["9-values"]]}
    refiner = read_refiner(saved(tmp_path, pickle.dumps(columns, protocol)), y_up=False)
    np.testing.assert_array_equal(
        refiner.state_dict()["head.0.weight"].numpy(), layers["9-values"][0].T
    )


class Trap:
    def __reduce__(self):
        return (open, ("trapped", "w"))


class Deep:
    """Hides the trap among an array's arguments."""

    def __reduce__(self):
        return (np.array, ([Trap()],))


@pytest.mark.parametrize("trap", [Trap(), Deep(), np.array([Trap()], dtype=object), np.float64(1)])
def test_a_malicious_pickle_is_refused_without_running_it(tmp_path, layers, trap, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, pickle.dumps({**layers, "0-values": [trap]}, 2))
    with pytest.raises(InvalidModelError, match="refused, only"):
        read_refiner(path, y_up=False)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(U\x0dtouch trappedtR.",
        b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",  # an array of 2 GB, made by a call
        b"cnumpy.core.multiarray\n_reconstruct\n(U\x01xtR.",
        b"cnumpy\ndtype\n(U\x02O8tR.",
    ],
)
def test_names_of_arrays_cannot_be_put_to_another_use(tmp_path, program, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidModelError, match=r"AUGMENT\.pkl: expected a DeepPrior\+\+ pickle"):
        read_refiner(saved(tmp_path, b"\x80\x02" + program), y_up=False)
    assert not (tmp_path / "trapped").exists()


def test_another_net_is_refused_with_layer_and_shapes(tmp_path, layers):
    other = {**layers, "4-values": [np.zeros((8, 8, 3, 3), np.float32), np.zeros(8, np.float32)]}
    with pytest.raises(
        InvalidModelError,
        match=r"layer 4: expected weight of shape \(8, 8, 5, 5\), found \(8, 8, 3",
    ):
        read_refiner(saved(tmp_path, pickle.dumps(other, 2)), y_up=False)


@pytest.mark.parametrize("values", [None, [], [1.0, 2.0], "text"])
def test_a_layer_without_values_is_refused(tmp_path, layers, values):
    other = {**layers, "13-values": values}
    with pytest.raises(InvalidModelError, match=r"expected \[weight, bias\] under '13-values'"):
        read_refiner(saved(tmp_path, pickle.dumps(other, 2)), y_up=False)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps([1, 2], 2)])
def test_what_is_no_such_pickle_is_refused(tmp_path, content):
    with pytest.raises(InvalidModelError, match=r"AUGMENT\.pkl: expected a"):
        read_refiner(saved(tmp_path, content), y_up=False)
