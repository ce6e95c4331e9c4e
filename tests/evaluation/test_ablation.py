import json

import numpy as np

from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS
from v2vpose.evaluation.ablation import PAPER, write_table1, write_table2
from v2vpose.evaluation.comparison import Labels, Method, compare


def test_the_table_has_the_four_rows_beside_the_papers(tmp_path):
    logs = [[{"step": 32, "loss": 1.0, "argmax_mm": 30.5, "subvoxel_mm": 29.25}], []]
    rows = [
        {"variant": variant, "parameters": 3_410_453, "steps": 32, "cpu_seconds": 4.2, "log": log}
        for variant, log in zip(PAPER, logs * 2, strict=True)
    ]
    write_table1(tmp_path, rows, {"batch": 8, "frames_to_see": 256, "seed": 1})
    text = (tmp_path / "table1.md").read_text()
    assert "Not finished" not in text
    line = next(line for line in text.splitlines() if line.startswith("| 2D depth map | coord"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "2D depth map", "coordinates", "3.41 M", "21.1 M", "256", "30.50 mm", "29.25 mm",
        "4 s", "18.85 mm",
    ]  # fmt: skip
    assert json.loads((tmp_path / "table1.json").read_text())["rows"] == rows
    assert (tmp_path / "table1.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_of_a_run_that_goes_on_says_so(tmp_path):
    rows = [
        {"variant": v, "parameters": 1, "steps": 32, "cpu_seconds": 1, "log": []} for v in PAPER
    ]
    write_table1(tmp_path, rows, {"batch": 8, "frames_to_see": 257})
    assert "**Not finished**" in (tmp_path / "table1.md").read_text()


def test_table_2_has_the_papers_rows_and_one_more(tmp_path):
    truth = np.full((4, 21, 3), 500.0)
    labels = Labels("generated hands", HAND_KEYPOINTS, truth, np.zeros(4, bool))
    off_mm = {"plain": 9.0, "epoch 9": 8.0, "ensemble": 7.0, "below": 6.5}
    methods = [Method(name, "own", truth + np.array([mm, 0, 0])) for name, mm in off_mm.items()]
    facts = {"single_epochs_mm": {"argmax": {8: 8.1, 9: 8.0}}}
    write_table2(tmp_path, compare(labels, methods, facts), {"frames": 4, "seed": 2})
    lines = (tmp_path / "table2.md").read_text().splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "own" in line
    ]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("without refinement (plain)", "9.00 mm", "11.14 mm"),
        ("refined (epoch 9)", "8.00 mm", "9.22 mm"),
        ("refined, ensemble (ensemble)", "7.00 mm", "8.42 mm"),
        ("refined, ensemble, sub-voxel (below)", "6.50 mm", ""),
    ]
    assert "| single epochs mm, argmax, 9 | 8.0 |" in lines
    assert (tmp_path / "table2.html").read_text().startswith("<!doctype html>")
    assert len(json.loads((tmp_path / "table2.json").read_text())["methods"]) == 4
