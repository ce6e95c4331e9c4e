import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests.evaluation.test_distance import LABELS, needs_labels
from v2vpose.errors import InvalidFieldError
from v2vpose.evaluation.comparison import (
    Labels,
    Method,
    MethodResult,
    compare,
    compare_files,
    published_labels,
)
from v2vpose.evaluation.mean_ap import MeanAP
from v2vpose.evaluation.page import page
from v2vpose.model_store.importers import known_set

ICVL_MM = "5.42 6.88 6.52 6.66 6.40 5.54 6.36 5.46 6.21 7.53 5.26 5.98 7.07 6.41 6.02 6.83"
NYU_MM = "9.53 7.02 9.77 6.70 10.08 6.76 11.00 7.40 9.84 7.78 6.87 8.94 9.94 6.25"


@needs_labels
@pytest.mark.parametrize(
    ("name", "frames", "mean_mm", "median_mm", "each_mm", "success"),
    [
        ("icvl", 1596, 6.284, 5.29, ICVL_MM, "45.30 84.65 93.92 97.18 98.75"),
        ("nyu", 8252, 8.419, 5.80, NYU_MM, "30.53 71.24 83.12 88.09 91.97"),
    ],
)
def test_the_published_files_give_the_published_figures(
    name, frames, mean_mm, median_mm, each_mm, success
):
    folder = LABELS / name
    found = compare_files(
        name, folder / "ground_truth_uvd.txt", {"V2V-PoseNet": folder / "v2v_posenet_uvd.txt"}
    )
    assert found.frames == frames
    distance = found.methods[0].distance
    assert round(distance.mean_mm, 3) == mean_mm
    assert round(distance.median_mm, 2) == median_mm
    assert [f"{mm:.2f}" for mm in distance.per_keypoint_mm] == each_mm.split()
    assert [f"{s:.2f}" for s in distance.success_percent.values()] == success.split()


@needs_labels
def test_labels_compared_with_themselves_are_perfect():
    path = LABELS / "icvl" / "ground_truth_uvd.txt"
    found = compare_files("icvl", path, {"the truth": path}).methods[0]
    assert found.distance.mean_mm == 0
    assert set(found.curve_percent) == {100.0}


@pytest.fixture
def itop_files(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.uniform((-1, -1, 2), (1, 1, 4), (40, 15, 3))
    files: dict[str, Path] = {}
    for name, sigma in (("truth", 0.0), ("near", 0.02), ("far <b>&$x", 0.2)):
        files[name] = tmp_path / f"{len(files)}.txt"
        np.savetxt(files[name], (truth + rng.normal(0, sigma, truth.shape)).reshape(40, -1))
    return files


def measured(truth, found) -> MethodResult:
    return compare(published_labels(known_set("icvl"), truth), [Method("a", "", found)]).methods[0]


def precision(method: MethodResult) -> MeanAP:
    assert method.precision is not None
    return method.precision


def test_bodies_are_measured_by_mean_average_precision_too(itop_files):
    labels = itop_files.pop("truth")
    found = compare_files("itop", labels, itop_files)
    near, far = found.methods
    assert precision(near).mean_percent == 100
    assert 0 < precision(far).mean_percent < 60
    assert near.distance.mean_mm == pytest.approx(32, abs=1.5)  # 20 mm an axis: 31.9 mm
    assert found.curve_mm[-1] == 400


def test_the_curve_passes_through_the_success_percentages():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 50, (100, 16, 3))
    found = measured(truth, truth + rng.normal(0, 9, truth.shape))
    curve = dict(enumerate(found.curve_percent))  # a step is 1 mm
    for threshold_mm, share in found.distance.success_percent.items():
        assert curve[threshold_mm] == share
    assert list(found.curve_percent) == sorted(found.curve_percent)
    assert found.precision is None


def test_the_bias_is_towards_where_the_predictions_lie():
    truth = np.zeros((3, 16, 3))
    assert measured(truth, truth + np.array([1, -2, 3])).bias_mm == (1, -2, 3)


def test_frames_without_an_answer_are_failures_in_every_share_and_not_in_means():
    truth = np.zeros((3, 15, 3))
    known = known_set("itop")
    labels = Labels("itop", known.keypoints, truth, np.zeros(3, bool), unanswered=1)
    result = compare(labels, [Method("a", "own", truth + 3.0)])
    (method,) = result.methods
    assert (result.frames, result.unanswered) == (4, 1)
    assert method.distance.mean_mm == pytest.approx(np.sqrt(27))
    assert method.distance.success_percent[10] == 75
    assert method.curve_percent[-1] == 75
    assert precision(method).mean_percent == 75
    assert "on 1 of them nothing was found" in page(result)


def test_missing_frames_are_refused_with_the_methods_name(itop_files):
    labels = itop_files.pop("truth")
    near = itop_files["near"]
    near.write_text("".join(near.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InvalidFieldError, match=r"near: .* found \(39, 15, 3\), expected \(40, 15"):
        compare_files("itop", labels, itop_files)


def test_no_methods_are_refused(itop_files):
    with pytest.raises(InvalidFieldError, match="at least one method"):
        compare_files("itop", itop_files["truth"], {})


def test_the_json_holds_every_figure_and_names_the_centre_source(itop_files):
    labels = itop_files.pop("truth")
    found = compare_files("itop", labels, itop_files, centre_source="side_view/center_test.txt")
    read = json.loads(found.to_json())
    assert [m["centre_source"] for m in read["methods"]] == ["side_view/center_test.txt"] * 2
    assert read["frames"] == 40
    assert [m["name"] for m in read["methods"]] == ["near", "far <b>&$x"]
    assert len(read["methods"][0]["curve_percent"]) == len(read["curve_mm"]) == 81
    assert read["methods"][1]["precision"]["mean_percent"] == pytest.approx(
        precision(found.methods[1]).mean_percent, abs=1e-4
    )
    assert set(read["methods"][0]["distance"]["success_percent"]) == {"10", "20", "30", "40", "50"}


class Page(HTMLParser):
    """Collects the cells of tables, and everything that would be loaded."""

    def __init__(self):
        super().__init__()
        self.cells, self.loads, self.tags, self.is_cell = [], [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.is_cell = tag in {"td", "th"}
        self.loads += [v for k, v in attrs if k in {"src", "href"} and not v.startswith("#")]

    def handle_data(self, data):
        if self.is_cell:
            self.cells.append(data)
            self.is_cell = False


def test_the_page_shows_tables_and_plots_and_loads_nothing(itop_files):
    labels = itop_files.pop("truth")
    found = compare_files("itop", labels, itop_files, centre_source="<detector>")
    text = page(found)
    read = Page()
    read.feed(text)
    assert read.loads == []
    assert "script" not in read.tags
    assert "b" not in read.tags  # names are escaped
    assert "far <b>&$x" in read.cells
    assert "&lt;detector&gt;" in text
    assert f"{found.methods[0].distance.mean_mm:.3f}" in read.cells
    assert f"{precision(found.methods[1]).mean_percent:.2f}" in read.cells
    assert "left_foot" in read.cells
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 2
    for drawing in drawings:
        ET.fromstring(drawing)  # noqa: S314  # our own
    assert "worst keypoint" in drawings[0]
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 4
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) == set(ids)


def test_the_page_is_the_same_bytes_every_time(itop_files):
    labels = itop_files.pop("truth")
    first, second = (page(compare_files("itop", labels, itop_files)) for _ in range(2))
    assert first == second


def test_hands_are_drawn_by_viewpoint_and_facts_are_told():
    rng = np.random.default_rng(2)
    truth = rng.normal((0, 0, 500), 50, (50, 16, 3))
    labels = published_labels(known_set("icvl"), truth)
    result = compare(labels, [Method("a", "own", truth + 1)], {"off": {"first_mm": 3.5}})
    text = page(result)
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 3
    assert "yaw, degrees" in drawings[2]
    assert "<td>off, first mm</td><td>3.5</td>" in text
    pitch = result.methods[0].pitch
    assert pitch is not None
    assert sum(pitch.frames) == 50
