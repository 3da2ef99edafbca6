# SPDX-License-Identifier: Apache-2.0
"""In every mode: whoever dies, the container is at one host or at the other, and goes on there."""
import pytest

from cluster import assert_counts_on, lines, wait_for


def where(cluster):
    """The one host where it runs; None as long as that is not settled."""
    running = [host for host in (cluster.a, cluster.b) for item in host.json("ps", "-a")
               if (item["id"], item["state"]) == ("counter", "running")]
    assert len(running) < 2
    return running[0] if running else None


@pytest.mark.parametrize("side, point", [("a", "send.frozen"), ("a", "send.prepared"), ("a", "send.committed"), ("a", "setup.migrate.moved"),
                                         ("b", "receive.images"), ("b", "receive.prepared"),
                                         ("b", "receive.complete"), ("b", "restore.before-vote")])
def test_a_cold_migration_with_a_death(counter, side, point):
    last = lines(counter.a, "counter")[-1]
    dying = getattr(counter, side)
    dying.order_fault(point)
    counter.migrate("counter", counter.a, "--mode", "cold", check=False)
    assert dying.has_arrived(point)
    dying.forget_faults()
    host = wait_for(lambda: where(counter), "it to run at one host")
    assert_counts_on(host)
    seen = lines(host, "counter")
    assert seen == list(range(seen[0], seen[0] + len(seen))) and seen[-1] > last
    if host is counter.a:
        counter.migrate("counter", counter.a, "--mode", "cold")
        assert_counts_on(counter.b)


def test_a_source_that_is_cut_off_after_the_commit_is_not_needed(counter):
    """A cold migration has given everything away by then."""
    counter.a.order_fault("send.committed")
    counter.b.order_fault("receive.committed", "stop")
    moving = counter.a.popen([counter.a.program("hydractl"), "--plain", "migrate", "--mode", "cold", "counter", counter.b.address])
    wait_for(lambda: counter.a.has_arrived("send.committed"), "the commit")
    counter.a.forget_faults()
    counter.b.forget_faults()
    moving.wait(60)
    host = wait_for(lambda: where(counter), "it to run at one host")
    assert_counts_on(host)


@pytest.mark.parametrize("asked, told", [("cold", "cold"), ("auto", "post-copy")])
def test_it_is_told_which_mode_it_was(counter, asked, told):
    counter.migrate("counter", counter.a, "--mode", asked)
    for host in (counter.a, counter.b):
        found = wait_for(lambda: [item for item in host.json("migrations", "--all") if item["result"] == "done"], "it to be noted")  # noqa: B023
        assert [item["mode"] for item in found] == [told]
