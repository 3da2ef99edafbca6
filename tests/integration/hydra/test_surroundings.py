# SPDX-License-Identifier: Apache-2.0
"""What is around Hydra: systemd's protocols, and hosts without a CRIU that would do."""
import socket

import pytest

from hosts import BUILD, program, wait_for


def test_the_monitor_and_the_daemon_tell_systemd_when_they_are_ready(host, rootfs):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(host.path("/run/notify")))
    host.env["NOTIFY_SOCKET"] = "/run/notify"
    notify.settimeout(60)
    host.start("hydra-monitor")
    messages = notify.recv(4096).decode()
    while "Containers run" not in messages:  # the daemon's; the monitor's may come before or after it
        messages += notify.recv(4096).decode()
    assert "READY=1" in messages
    # that is not about containers, whose start would wait for them to be ready
    assert host.ctl("run", "--rm", "--rootfs", rootfs, "sh", "-c", "echo ${NOTIFY_SOCKET-none}").stdout == "none\n"
    notify.close()


def test_a_socket_from_systemd_is_used(host, rootfs):
    script = (f"import os,socket; os.makedirs('/run/hydra',0o700); s=socket.socket(socket.AF_UNIX); s.bind('/run/hydra/hydrad.sock');"
              f"s.listen(16); s.fileno()==3 or os.dup2(s.fileno(),3); os.set_inheritable(3,True); os.environ.update(LISTEN_FDS='1',LISTEN_PID=str(os.getpid()));"
              f"os.execv('{program('hydrad')}',['hydrad'])")
    host.services["hydrad"] = host.popen(["python3", "-c", script])
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    assert host.ctl("run", "--rm", "--rootfs", rootfs, "echo", "hello").stdout == "hello\n"


@pytest.mark.parametrize("criu, message", [
    (None, "No such file"),
    ("#!/bin/sh\necho 'Version: 3.17.1'\n", "3.17.1"),
    ("#!/bin/sh\ntrue\n", "nothing understandable"),
], ids=["no CRIU", "an old CRIU", "something else"])
def test_without_a_criu_that_would_do_the_reason_is_named_and_the_container_runs_on(host, rootfs, criu, message):
    path = host.path("/run/criu")
    if criu is not None:
        path.write_text(criu)
        path.chmod(0o755)
    host.env["HYDRA_CRIU"] = "/run/criu"
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    check = host.ctl("host-check", check=False)
    assert check.returncode != 0 and message in check.stdout + check.stderr
    done = host.ctl("checkpoint", "web", "--images", "/run/images", check=False)
    assert done.returncode == 125 and message in done.stderr, done.stderr
    assert host.inspect("web")["state"] == "running" and not host.path("/run/images").exists()


def test_what_is_no_socket_is_refused(host):
    script = (f"import os; fd=os.open('/dev/null',0); fd==3 or os.dup2(fd,3); os.set_inheritable(3,True);"
              f"os.environ.update(LISTEN_FDS='1',LISTEN_PID=str(os.getpid())); os.execv('{program('hydrad')}',['hydrad'])")
    done = host.run("python3", "-c", script, check=False)
    assert done.returncode == 1 and "expected a listening Unix socket" in done.stderr


def test_everything_is_installed_where_it_is_looked_for(host, tmp_path):
    host.run("meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--destdir", str(tmp_path))
    for name in ("usr/bin/hydractl", "usr/bin/containerd-shim-hydra-v1", "usr/libexec/hydra/hydrad", "usr/libexec/hydra/hydra-shim",
                 "usr/libexec/hydra/hydra-setup", "usr/libexec/hydra/hydra-monitor", "usr/libexec/hydra/hydra-checkpoint", "usr/libexec/hydra/hydra-pager",
                 "usr/share/man/man1/hydractl.1", "usr/share/man/man8/hydra.8", "usr/lib/systemd/system/hydra-monitor.service",
                 "usr/share/bash-completion/completions/hydractl"):
        assert (tmp_path / name).is_file() or (tmp_path / name).is_symlink(), name
    assert list(tmp_path.glob("usr/*/hydra")) or list(tmp_path.glob("usr/libexec/hydra/hydra")), "the runtime"
