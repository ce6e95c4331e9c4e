"""How little everything but the forward pass costs a member, at the paper's size on a CPU.

    python benchmarks/input_sharing.py [--rounds 15] [--input-side 88] [--width 16]

Every member of an ensemble refines, voxelizes and reads peaks for itself, so these must be nearly
free beside the forward pass (aim: below 2 %). The nets have random weights; the crop is a bump that
fills a third of the cube. Both precisions of OpenVINO; medians of the rounds.
"""

import argparse
import statistics

import torch

from v2vpose.backends.openvino_backend import OpenVINOBackend
from v2vpose.geometry.cubic_box import CENTRED_CELL_OFFSET
from v2vpose.member import STAGES, Member
from v2vpose.nets import Refiner, build_v2v
from v2vpose.serving.self_test import synthetic_crop
from v2vpose.values import Decode

KEYPOINTS = 21
SIDE_MM = 250.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--input-side", type=int, default=88)
    parser.add_argument("--width", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)
    v2v, refiner = build_v2v(KEYPOINTS, width=args.width), Refiner()
    crop = synthetic_crop(SIDE_MM)
    print("| precision | " + " | ".join(f"{stage} ms" for stage in STAGES) + " | beside forward |")
    print("|---" * (len(STAGES) + 2) + "|")
    for precision in ("f32", "bf16"):
        member = Member(
            epoch=1,
            backend=OpenVINOBackend(
                v2v.eval(), refiner.eval(), input_side=args.input_side, precision=precision
            ),
            input_side=args.input_side,
            refiner_side_mm=SIDE_MM,
            refiner_passes=1,
            cell_offset=CENTRED_CELL_OFFSET,
        )
        member.estimate([crop], Decode.SUBVOXEL)  # compiles
        rounds = [member.estimate([crop], Decode.SUBVOXEL).stage_s for _ in range(args.rounds)]
        ms = {stage: 1000 * statistics.median(each[stage] for each in rounds) for stage in STAGES}
        beside = sum(ms.values()) - ms["forward"]
        cells = " | ".join(f"{ms[stage]:.2f}" for stage in STAGES)
        print(f"| {precision} | {cells} | {beside / ms['forward']:.2%} |")


if __name__ == "__main__":
    main()
