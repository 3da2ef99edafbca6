#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The inner part of scripts/twohosts: a shell between two hosts."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/integration/migration"))

from cluster import BUILD, Cluster, make_certificates  # noqa: E402
from roots import make_rootfs  # noqa: E402

RC = """
on() {{
	local where=$1; shift
	case $where in
	a) nsenter -t {a} --mount --pid --net --uts env {env_a} "$@" ;;
	b) nsenter -t {b} --mount --pid --net --uts env {env_b} "$@" ;;
	client) nsenter -t {client} --net "$@" ;;
	*) echo "on a|b|client COMMAND..." >&2; return 2 ;;
	esac
}}
PATH={build}/cli:$PATH
PS1='two hosts# '
cat <<'END'
Hosts a (10.88.0.11) and b (10.88.0.12) run; 10.88.0.1 is the client. For example:
  on a hydractl run -d --rootfs /rootfs --name web --network lan sh -c 'while true; do date; sleep 1; done'
  on a hydractl migrate web 10.88.0.12:7443
  on b hydractl logs web
END
"""


def main():
    rootfs = pathlib.Path("/tmp/rootfs")
    rootfs.mkdir()
    make_rootfs(rootfs)
    if not pathlib.Path("/rootfs").exists():
        pathlib.Path("/rootfs").symlink_to(rootfs)
    certificates = make_certificates(pathlib.Path("/tmp/certificates"), "a", "b")
    with Cluster(certificates) as cluster:
        cluster.start()
        env = {host: " ".join(f"{key}={value}" for key, value in host.env.items()) for host in (cluster.a, cluster.b)}
        rc = pathlib.Path("/tmp/twohosts.rc")
        rc.write_text(RC.format(a=cluster.a.pid, b=cluster.b.pid, client=cluster.client.pid, env_a=env[cluster.a],
                                env_b=env[cluster.b], build=BUILD))
        status = subprocess.run(["bash", "--rcfile", str(rc)] if len(sys.argv) < 2 else
                                ["bash", "-c", f". {rc} >/dev/null; {' '.join(sys.argv[1:])}"], check=False).returncode
        cluster.clean()
    if pathlib.Path("/rootfs").is_symlink():
        pathlib.Path("/rootfs").unlink()
    return status


sys.exit(main())
