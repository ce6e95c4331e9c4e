"""Settings of all tests."""

import torch
from hypothesis import Phase, settings

torch.set_num_threads(1)  # tiny nets: threads that wait for each other cost more than they give

settings.register_profile("v2vpose", deadline=None, max_examples=60, derandomize=True)
settings.register_profile(
    "mutation", settings.get_profile("v2vpose"), phases=(Phase.explicit, Phase.generate)
)  # red is enough there, the smallest example is not asked for
settings.load_profile("v2vpose")
