import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.stores import NUM_KEYPOINTS, write_tiny_store
from v2vpose.errors import InvalidModelError, UnknownModelError
from v2vpose.model_store import Conventions, LabelConvention, ModelStore, sha256_of


@pytest.fixture
def version(tmp_path):
    return write_tiny_store(tmp_path, with_detector=True)


def edit_manifest(version, edit):
    path = version.directory / "manifest.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return ModelStore(version.directory.parent.parent).open("hand")


def rewrite(version, change, metadata=None):
    """Change the tensors of epoch 2 and bring the manifest's checksum up to date."""
    path = version.directory / "epoch-02.safetensors"
    tensors = load_file(path)
    change(tensors)
    conventions = json.dumps(Conventions().model_dump(mode="json"))
    save_file(tensors, path, metadata=metadata or {"conventions": conventions})
    return edit_manifest(version, lambda m: m["epochs"][1].update(sha256=sha256_of(path)))


def test_what_was_written_is_what_is_read(version):
    version.check()
    v2v, refiner = version.load_epoch(2)
    tensors = load_file(version.directory / "epoch-02.safetensors")
    torch.testing.assert_close(v2v.output.weight, tensors["v2v.output.weight"].float())
    torch.testing.assert_close(refiner.head[0].bias, tensors["refiner.head.0.bias"].float())
    assert not v2v.training
    assert not refiner.training
    assert v2v.output.out_channels == NUM_KEYPOINTS


def test_epochs_differ(version):
    first, second = (version.load_epoch(epoch)[0].output.weight for epoch in (1, 2))
    assert not torch.equal(first, second)


def test_weights_are_half_precision_on_disk_but_variances_are_not(version):
    tensors = load_file(version.directory / "epoch-01.safetensors")
    kinds = {name: tensor.dtype for name, tensor in tensors.items()}
    assert kinds["v2v.output.weight"] is torch.float16
    assert kinds["v2v.front.0.1.running_var"] is torch.float32
    assert not any(name.endswith("num_batches_tracked") for name in kinds)


def test_the_newest_version_is_the_default_and_ten_comes_after_nine(tmp_path):
    for number in ("9", "10", "2"):
        write_tiny_store(tmp_path, version=number, epochs=1)
    store = ModelStore(tmp_path)
    assert store.models() == ["hand"]
    assert store.versions("hand") == ["2", "9", "10"]
    assert store.open("hand").manifest.version == "10"
    assert store.open("hand", "9").manifest.version == "9"


def test_an_unknown_model_or_version_or_epoch_is_named_with_what_there_is(version, tmp_path):
    store = ModelStore(tmp_path)
    with pytest.raises(UnknownModelError, match=r"no model 'foot'; the store has: hand"):
        store.open("foot")
    with pytest.raises(UnknownModelError, match=r"hand has no version '7'; it has: 1"):
        store.open("hand", "7")
    with pytest.raises(UnknownModelError, match=r"has no epoch 8; it has 1, 2, 3"):
        version.load_epoch(8)


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("name", ["../../etc", "hand/../hand", "*", "", "hand/1/.."])
def test_a_name_is_never_a_path(tmp_path, name):
    with pytest.raises(UnknownModelError):
        ModelStore(tmp_path).open(name)
    with pytest.raises(UnknownModelError):
        ModelStore(tmp_path).open("hand", name or "..")


def test_a_missing_file_is_named(version):
    path = version.directory / "epoch-03.safetensors"
    path.unlink()
    with pytest.raises(InvalidModelError, match=r"epoch-03.*expected a safetensors file, found n"):
        version.check()


def test_a_changed_byte_is_found_by_the_checksum(version):
    path = version.directory / "epoch-02.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"epoch-02\.safetensors: expected sha256 \w{64}, "):
        version.check()


def test_a_wrong_shape_is_named_with_both_shapes(version):
    def narrow(tensors):
        tensors["v2v.output.weight"] = tensors["v2v.output.weight"][:3].clone()

    with pytest.raises(
        InvalidModelError,
        match=r"v2v\.output\.weight: expected shape \(5, 4, 1, 1, 1\), found \(3, 4, 1, 1, 1\)",
    ):
        rewrite(version, narrow).check()


def test_a_missing_and_a_strange_tensor_are_named(version):
    with pytest.raises(InvalidModelError, match=r"expected a tensor refiner\.head\.6\.bias, found"):
        rewrite(version, lambda t: t.pop("refiner.head.6.bias")).check()


def test_a_strange_tensor_is_named(version):
    with pytest.raises(InvalidModelError, match=r"found optimiser\.step"):
        rewrite(version, lambda t: t.update({"optimiser.step": torch.zeros(1)})).check()


def test_weights_that_are_not_finite_are_refused(version):
    with pytest.raises(InvalidModelError, match=r"v2v\.output\.bias: expected finite weights"):
        rewrite(version, lambda t: t["v2v.output.bias"].fill_(float("nan"))).check()


def test_mixed_conventions_are_refused(version):
    other = Conventions(label=LabelConvention.RELEASE).model_dump(mode="json")
    with pytest.raises(
        InvalidModelError,
        match=r"convention label: expected 'centred' \(manifest\), found 'release'",
    ):
        rewrite(version, lambda _: None, {"conventions": json.dumps(other)}).check()


def test_a_checkpoint_that_states_no_conventions_is_refused(version):
    with pytest.raises(InvalidModelError, match=r"found None; one ensemble cannot mix"):
        rewrite(version, lambda _: None, {"epoch": "2"}).check()


def test_a_pickle_is_never_loaded(version):
    path = version.directory / "epoch-02.safetensors"
    torch.save({"v2v.output.weight": torch.zeros(1)}, path)
    broken = edit_manifest(version, lambda m: m["epochs"][1].update(sha256=sha256_of(path)))
    with pytest.raises(InvalidModelError, match="expected a safetensors"):
        broken.check()


def calibrated(peaks, shares):
    table = {"within_mm": 20, "peaks": peaks, "shares": shares}
    return lambda m: m.update(calibration=table)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda m: m.pop("side_mm"), "side_mm: Field required"),
        (lambda m: m.update(input_side=44), "input_side: .*multiple of 8"),
        (lambda m: m.update(colour="red"), "colour: Extra inputs"),
        (lambda m: m["skeleton"].append([0, 21]), r"skeleton edge \(0, 21\)"),
        (lambda m: m["epochs"].append(m["epochs"][0]), "epoch appears twice"),
        (lambda m: m["epochs"][0].update(file="../x"), r"epochs\.0\.file"),
        (lambda m: m.update(version="2"), r"expected model and version \('hand', '1'\), found"),
        (lambda m: m.update(near_mm=2000), "must be less than far_mm"),
        (calibrated([0.1, 0.1], [0, 1]), "peaks must rise"),
        (calibrated([0.1, 0.2], [1, 0]), "shares must not fall"),
        (calibrated([0.1, 0.2], [0, 0.5, 1]), "2 peaks, but 3 shares"),
        (calibrated([0.1, 1.2], [0, 1]), r"calibration\.peaks\.1"),
    ],
)
def test_a_broken_manifest_says_where(version, edit, text):
    with pytest.raises(InvalidModelError, match=text):
        edit_manifest(version, edit)


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """The library writes metadata in an order that it draws anew each time."""
    directory = write_tiny_store(tmp_path, epochs=8).directory
    for path in sorted(directory.glob("epoch-*.safetensors")):
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        assert list(header["__metadata__"]) == ["conventions", "epoch"]
