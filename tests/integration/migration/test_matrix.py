# SPDX-License-Identifier: Apache-2.0
"""Each party dies, the network is cut or a host crashes at each point of a migration: there is one copy, and it has every byte.

HYDRA_MATRIX=all: each deed at each point (scripts/chaos --migrate --matrix). HYDRA_MATRIX_MODE: another mode than post-copy."""
import os

import pytest

from cluster import Cluster
from conftest import show
from matrix import Trial, cases, points

MODE = os.environ.get("HYDRA_MATRIX_MODE", "post-copy")
SOME = cases(os.environ.get("HYDRA_MATRIX", "some"), MODE)


class Shared:
    """One cluster for all cases; what a case leaves behind fails it, and the next one gets a new cluster."""

    def __init__(self, certificates):
        self.certificates, self.cluster = certificates, None

    def get(self):
        if self.cluster is None:
            self.cluster = Cluster(self.certificates)
            self.cluster.__enter__()
            self.cluster.start()
        return self.cluster

    def drop(self):
        if self.cluster is not None:
            self.cluster.__exit__()
        self.cluster = None


@pytest.fixture(scope="module")
def shared(certificates):
    made = Shared(certificates)
    yield made
    made.drop()


@pytest.mark.parametrize("case", SOME, ids=str)
def test_one_copy_with_every_byte(shared, rootfs, case):
    trial = Trial(shared.get(), MODE)
    try:
        trial.begin(rootfs)
        trial.run(case)
        if case.deed.startswith("crash"):
            trial.expect_after_crash(case.deed.split()[1])
        else:
            trial.expect_one()
        trial.clean()
    except BaseException:
        show(shared.cluster)
        trial.close()
        shared.drop()
        raise


def test_the_points_are_those_of_a_migration():
    """Every phase and record has its place in the matrix."""
    names = [name for _, name in points()]
    assert len(names) == len(set(names)) and len(names) >= 28
