"""`v2vpose` under torchrun, which leaves behind the weights that each process ended with."""

import os
from pathlib import Path

import numpy as np

from v2vpose.__main__ import main
from v2vpose.training import run
from v2vpose.training.fit import fit

RANK = os.environ["RANK"]


def fit_and_tell(*arguments, **options):
    trainees, rows = fit(*arguments, **options)
    weights = [
        p.detach().numpy().ravel() for t in trainees.named().values() for p in t.net.parameters()
    ]
    np.save(Path(os.environ["RANKS_OUT"]) / f"rank-{RANK}.npy", np.concatenate(weights))
    return trainees, rows


if __name__ == "__main__":
    vars(run)["fit"] = fit_and_tell
    main()
