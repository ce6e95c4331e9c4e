import numpy as np
import pytest
import torch

from tests.frames import sphere_frame
from tests.model_store.importers.deepprior_files import python2_pickle, refiner_layers
from tests.model_store.importers.t7_files import ReleaseNet, t7_bytes
from tests.reference import release_decode, release_label
from v2vpose.errors import InvalidFieldError, InvalidModelError
from v2vpose.heatmaps import peaks_of
from v2vpose.localise import target_crop
from v2vpose.member import Member, load_member
from v2vpose.model_store import LabelConvention, ModelStore
from v2vpose.model_store.importers import KNOWN_SETS, import_weights, known_set
from v2vpose.values import Decode, Handedness

JOINTS = {"icvl": 16, "nyu": 14, "msra": 21, "hands17": 21, "itop": 15}


@pytest.fixture
def nets(tmp_path):
    """Two epochs for NYU."""
    files = [tmp_path / f"epoch{i}.net" for i in (1, 2)]
    for seed, path in enumerate(files):
        path.write_bytes(t7_bytes(ReleaseNet(joints=14, seed=seed).root))
    return files


@pytest.fixture
def refiner_file(tmp_path):
    path = tmp_path / "net_NYU_COM_AUGMENT.pkl"
    path.write_bytes(python2_pickle(refiner_layers()))
    return path


def test_several_epochs_become_one_ensemble_that_the_store_loads(tmp_path, nets):
    out = tmp_path / "store" / "nyu" / "1"
    manifest = import_weights("t7", nets, out, dataset="nyu")
    version = ModelStore(tmp_path / "store").open("nyu")
    assert version.manifest == manifest
    assert manifest.epoch_numbers == (1, 2)
    assert manifest.side_mm == 250
    assert manifest.input_side == 88
    assert manifest.handedness is Handedness.RIGHT
    assert manifest.decode is Decode.ARGMAX
    assert manifest.conventions.label is LabelConvention.RELEASE_Y_UP
    assert manifest.refiner.passes == 0
    assert [f["file"] for f in manifest.training["imported"]["v2v"]] == ["epoch1.net", "epoch2.net"]
    first, second = (version.load_epoch(epoch)[0].output.weight for epoch in (1, 2))
    assert not torch.equal(first, second)
    crop = target_crop(
        sphere_frame((0, 0, 500)), np.array([0, 0, 480.0]), side_mm=250, reach_mm=125
    )
    answer = load_member(version, 2, backend="torch").estimate([crop], Decode.ARGMAX).answers[0]
    np.testing.assert_array_equal(answer.refined_point_mm, [0, 0, 480])
    assert answer.keypoints_mm.shape == (14, 3)


@pytest.mark.parametrize("name", JOINTS)
def test_the_five_known_sets_agree_with_the_paper(name):
    known = known_set(name)
    assert len(known.keypoints) == len(set(known.keypoints)) == JOINTS[name]
    ends = {end for edge in known.skeleton for end in edge}
    assert ends == set(range(JOINTS[name]))
    assert len(known.skeleton) == JOINTS[name] - 1  # a tree
    assert known.side_mm == {"icvl": 200, "msra": 200, "itop": 2000}.get(name, 250)


def test_refiners_go_with_the_weights_or_are_added_later(tmp_path, nets, refiner_file):
    at_once = tmp_path / "store" / "nyu" / "1"
    later = tmp_path / "store" / "nyu" / "2"
    import_weights("t7", nets, at_once, dataset="nyu", refiners=[refiner_file])
    import_weights("t7", nets, later, dataset="nyu")
    import_weights("deepprior", [refiner_file], later, dataset="nyu")
    store = ModelStore(tmp_path / "store")
    one, two = store.open("nyu", "1"), store.open("nyu", "2")
    for version in (one, two):
        assert version.manifest.refiner.passes == 1
        assert version.manifest.refiner.side_mm == 300
        assert version.manifest.refiner.target == "keypoint"
    for epoch in (1, 2):
        for ours, theirs in zip(one.load_epoch(epoch), two.load_epoch(epoch), strict=True):
            for name, tensor in ours.state_dict().items():
                assert torch.equal(tensor, theirs.state_dict()[name]), name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kind": "onnx"}, "kind must be one of t7, dragonbook, deepprior, got 'onnx'"),
        ({"dataset": "coco"}, "dataset must be one of icvl, nyu, msra, hands17, itop, got 'coco'"),
        ({"files": []}, "at least one file of weights"),
        ({"kind": "deepprior"}, "a refiner alone is no model"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path, nets, arguments, text):
    out = tmp_path / "store" / "nyu" / "1"
    given = {"kind": "t7", "files": nets, "out": out, "dataset": "nyu"} | arguments
    with pytest.raises(InvalidFieldError, match=text):
        import_weights(**given)
    assert not (tmp_path / "store").exists()


def test_nothing_is_overwritten(tmp_path, nets):
    out = tmp_path / "store" / "nyu" / "1"
    out.mkdir(parents=True)
    with pytest.raises(InvalidFieldError, match="exists; an import makes a new version"):
        import_weights("t7", nets, out, dataset="nyu")


def test_a_refused_file_leaves_nothing_behind(tmp_path, nets):
    nets[1].write_bytes(t7_bytes(ReleaseNet(joints=14, width=3).root))
    with pytest.raises(
        InvalidModelError, match=r"epoch2\.net: expected width and keypoints \(2, 1"
    ):
        import_weights("t7", nets, tmp_path / "store" / "nyu" / "1", dataset="nyu")
    with pytest.raises(InvalidModelError, match=r"expected 16 heatmaps, .* icvl, found 14"):
        import_weights("t7", nets[:1], tmp_path / "store" / "icvl" / "1", dataset="icvl")
    huge = ReleaseNet(joints=14)
    huge.root.fields["modules"][6].fields["bias"].storage[-1] = 1e6  # beyond half precision
    nets[0].write_bytes(t7_bytes(huge.root))
    with pytest.raises(InvalidModelError, match="finite"):
        import_weights("t7", nets[:1], tmp_path / "store" / "nyu" / "1", dataset="nyu")
    assert not (tmp_path / "store").exists()


def test_refiners_must_match_the_epochs(tmp_path, nets, refiner_file):
    out = tmp_path / "store" / "nyu" / "1"
    with pytest.raises(InvalidFieldError, match="one refiner, or one for each of 2 epochs, got 3"):
        import_weights("t7", nets, out, dataset="nyu", refiners=[refiner_file] * 3)
    assert not out.exists()


class PerfectYUpNet:
    """Peaks where the release's labels of a point are, in a y-up world; then our grid's mirror."""

    def __init__(self, point_mm, center_mm, side_mm):
        up = np.array([1, -1, 1])
        self.cell = release_label(tuple(point_mm * up), tuple(center_mm * up), side_mm)
        self.decoded = np.array(release_decode(self.cell, tuple(center_mm * up), side_mm)) * up

    def offsets(self, crops):
        return np.zeros((len(crops), 3))

    def peaks(self, occupancy, *, with_slices=False):  # noqa: ARG002
        cells = np.arange(44)
        x, y, z = (np.exp(-((cells - c) ** 2) / (2 * 1.7**2)) for c in self.cell)
        heatmap = z[:, None, None] * y[None, :, None] * x[None, None, :]  # y up
        return peaks_of(np.tile(heatmap[:, ::-1], (len(occupancy), 1, 1, 1, 1)))


@pytest.mark.parametrize("seed", range(20))
def test_a_mirrored_release_net_decodes_to_the_millimetre_what_the_release_decodes(seed):
    rng = np.random.default_rng(seed)
    center_mm = np.array([10.0, -20.0, 500.0])
    point_mm = center_mm + rng.uniform(-110, 110, 3)
    net = PerfectYUpNet(point_mm, center_mm, 250.0)
    member = Member(
        epoch=1,
        backend=net,
        input_side=88,
        refiner_side_mm=300,
        refiner_passes=0,
        cell_offset=LabelConvention.RELEASE_Y_UP.cell_offset,
    )
    crop = target_crop(sphere_frame((0, 0, 500)), center_mm, side_mm=250, reach_mm=125)
    found_mm = member.estimate([crop], Decode.SUBVOXEL).answers[0].keypoints_mm[0]
    np.testing.assert_allclose(found_mm, net.decoded, atol=0.01)
    assert np.abs(found_mm - point_mm).max() <= 250 / 88 / 2 + 0.01  # half a voxel


def test_every_known_set_imports_under_its_own_name(tmp_path):
    for name, known in KNOWN_SETS.items():
        path = tmp_path / f"{name}.net"
        path.write_bytes(t7_bytes(ReleaseNet(joints=JOINTS[name]).root))
        manifest = import_weights("t7", [path], tmp_path / "store" / name / "1", dataset=name)
        expected = LabelConvention.RELEASE_Y_UP if known.y_up else LabelConvention.RELEASE
        assert manifest.conventions.label is expected


def test_side_and_y_axis_can_be_told(tmp_path, nets):
    manifest = import_weights(
        "t7", nets, tmp_path / "s" / "nyu" / "7", dataset="nyu", side_mm=300, y_axis="down"
    )
    assert manifest.side_mm == 300
    assert manifest.conventions.label is LabelConvention.RELEASE
