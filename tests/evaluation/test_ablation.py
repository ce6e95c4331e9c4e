import json

from v2vpose.evaluation.ablation import PAPER, write_table1


def test_the_table_has_the_four_rows_beside_the_papers(tmp_path):
    logs = [[{"step": 32, "loss": 1.0, "argmax_mm": 30.5, "subvoxel_mm": 29.25}], []]
    rows = [
        {"variant": variant, "parameters": 3_410_453, "steps": 32, "cpu_seconds": 4.2, "log": log}
        for variant, log in zip(PAPER, logs * 2, strict=True)
    ]
    write_table1(tmp_path, rows, {"batch": 8, "seed": 1})
    text = (tmp_path / "table1.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| 2D depth map | coord"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "2D depth map", "coordinates", "3.41 M", "21.1 M", "256", "30.50 mm", "29.25 mm",
        "4 s", "18.85 mm",
    ]  # fmt: skip
    assert json.loads((tmp_path / "table1.json").read_text())["rows"] == rows
    assert (tmp_path / "table1.png").read_bytes().startswith(b"\x89PNG")
