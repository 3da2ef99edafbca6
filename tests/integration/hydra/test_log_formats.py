# SPDX-License-Identifier: Apache-2.0
"""Each format of the log: every byte, rotation, and a change while the container runs."""
import json
import os
import random
import re
import socket
import struct

import pytest

from hosts import wait_for
from logs import counters, lines, log_bytes, log_options, log_path, run, touch, wait_for_written

FORMATS = ["cri", "json-file", "raw"]
SUFFIX = {"cri": "", "json-file": ".json", "raw": ".raw"}
AWKWARD = b"nul\0nul\nb\xff\xfe\xc0\x80d \xed\xa0\x80 \xf0\x9f\x98\x80 \xe2\x82\xac\r\n\x1b[0m\"\\<&>\t\n\n\xe2\x82\n"


def replaced(data):
    """As Go, and therefore Docker, reads bytes as UTF-8: each byte that belongs to nothing is U+FFFD."""
    result = ""
    while data:
        for size in (1, 2, 3, 4):
            try:
                result += data[:size].decode()
                data = data[size:]
                break
            except UnicodeDecodeError:
                continue
        else:
            result += "\ufffd"
            data = data[1:]
    return result.encode()


def ended(host, name):
    return wait_for(lambda: host.inspect(name)["state"] == "stopped", f"{name} to end")


@pytest.mark.parametrize("format_name", FORMATS)
def test_rotated_logs_have_every_byte(host, rootfs, format_name):
    run(host, rootfs, "web", "seq 1 20000", *log_options(format=format_name, max_size="16k", max_files=1000))
    ended(host, "web")
    assert log_bytes(host, "web") == lines(1, 20000)
    path = log_path(host, "web")
    files = sorted(path.parent.glob("container.log.*"), key=lambda file: -int(file.name.split(".")[2]))
    assert len(files) > 5 and all(file.name.endswith(SUFFIX[format_name]) for file in files)
    assert all(file.stat().st_size <= 16384 for file in [*files, path])
    if format_name == "raw":
        assert b"".join(file.read_bytes() for file in [*files, path]) == lines(1, 20000)
    assert log_bytes(host, "web", "--tail", "3") == lines(19998, 20000)


@pytest.mark.parametrize("format_name", FORMATS)
def test_only_so_many_files_are_kept(host, rootfs, format_name):
    run(host, rootfs, "web", "seq 1 20000", *log_options(format=format_name, max_size="8k", max_files=3))
    ended(host, "web")
    kept = log_bytes(host, "web")
    assert len(list(log_path(host, "web").parent.iterdir())) == 3
    assert kept and lines(1, 20000).endswith(kept)


@pytest.mark.parametrize("format_name", FORMATS)
def test_any_bytes_come_out_as_they_went_in(host, rootfs, tmp_path, format_name):
    blob = AWKWARD + random.Random(1).randbytes(100000) + AWKWARD + "äöü€😀".encode() * 20000 + b"end"
    (tmp_path / "blob").write_bytes(blob)
    run(host, rootfs, "web", "cat /data/blob", *log_options(format=format_name), mount=tmp_path)
    ended(host, "web")
    assert log_bytes(host, "web") == (replaced(blob) if format_name == "json-file" else blob)


def test_json_lines_are_dockers(host, rootfs):
    run(host, rootfs, "web", "echo out; echo err >&2; printf '\\001\"\\\\<end'", *log_options(format="json-file"))
    ended(host, "web")
    text = log_path(host, "web").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert sorted((entry["log"], entry["stream"]) for entry in entries) == [
        ('\x01"\\<end', "stdout"), ("err\n", "stderr"), ("out\n", "stdout")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["time"]) for entry in entries)
    assert all(list(entry) == ["log", "stream", "time"] for entry in entries) and '\\u0001\\"\\\\\\u003cend"' in text


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_very_long_line_is_one_line(host, rootfs, format_name):
    run(host, rootfs, "web", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo next", *log_options(format=format_name))
    ended(host, "web")
    assert log_bytes(host, "web") == b"x" * 3000000 + b"\nnext\n"


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_line_without_end_is_in_the_log_at_once(host, rootfs, tmp_path, format_name):
    run(host, rootfs, "web", "printf part; while [ ! -e /data/go ]; do sleep 0.05; done; echo ial",
        *log_options(format=format_name), mount=tmp_path)
    wait_for(lambda: log_bytes(host, "web") == b"part", "the part")
    touch(tmp_path, "go")
    ended(host, "web")
    assert log_bytes(host, "web") == b"partial\n"


def test_what_a_terminal_shows_is_logged(host, rootfs):
    host.ctl("run", "-d", "-t", "--name", "web", "--rootfs", rootfs, "sh", "-c", "tty; seq 1 20000")
    ended(host, "web")
    assert log_bytes(host, "web") == b"/dev/pts/0\r\n" + lines(1, 20000).replace(b"\n", b"\r\n")


def test_the_log_and_its_counters_go_on_when_the_container_is_restarted(host, rootfs, tmp_path):
    run(host, rootfs, "web", "echo x; echo x >>/data/count; [ $(wc -l </data/count) -lt 3 ] && exit 1; exec sleep 1000",
        "--restart", "on-failure:3", mount=tmp_path)
    wait_for(lambda: host.inspect("web")["restartCount"] == 2 and host.inspect("web")["state"] == "running", "the third start")
    assert wait_for_written(host, "web", 6)["logReadBytes"] == 6 and log_bytes(host, "web") == b"x\n" * 3


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_tail_is_of_lines_not_of_parts(host, rootfs, tmp_path, format_name):
    run(host, rootfs, "web", "echo one; for part in 1 2 3; do printf $part; until [ -e /data/$part ]; do sleep 0.05; done; done; echo; echo end",
        *log_options(format=format_name), mount=tmp_path)
    for part, said in (("1", b"one\n1"), ("2", b"one\n12"), ("3", b"one\n123")):
        wait_for(lambda: log_bytes(host, "web") == said, f"part {part}")
        assert log_bytes(host, "web", "--tail", "1") == said[4:]
        touch(tmp_path, part)
    ended(host, "web")
    assert log_bytes(host, "web", "--tail", "2") == b"123\nend\n" and log_bytes(host, "web", "--tail", "1") == b"end\n"


def test_a_changed_format_is_read_from_there_on(host, rootfs, tmp_path):
    script = "n=0; while read count; do i=0; while [ $i -lt $count ]; do i=$((i+1)); n=$((n+1)); echo $n; done; done </data/orders"
    os.mkfifo(tmp_path / "orders")
    run(host, rootfs, "web", script, *log_options(max_size="4k", max_files=100), mount=tmp_path)
    with open(tmp_path / "orders", "w") as orders:
        for number, format_name in enumerate(["json-file", "raw", "cri", "json-file"]):
            orders.write("200\n")
            orders.flush()
            wait_for_written(host, "web", len(lines(1, 200 * (number + 1))))
            host.ctl("update", "--log-opt", f"format={format_name}", "web")
        orders.write("200\n")
    ended(host, "web")
    assert log_bytes(host, "web") == lines(1, 1000)
    names = {"".join(file.name.split(".")[3:]) for file in log_path(host, "web").parent.glob("container.log.*")}
    assert names == {"", "json", "raw"} and log_path(host, "web").read_bytes().startswith(b'{"log":')
    assert host.inspect("web")["log"]["maxFiles"] == 100


def test_followers_follow_into_the_new_format(host, rootfs, tmp_path):
    run(host, rootfs, "web", "echo one; while [ ! -e /data/go ]; do sleep 0.05; done; echo two", mount=tmp_path)
    follower = host.popen([host.program("hydractl"), "logs", "-f", "web"], stdout=-1, text=True)
    assert follower.stdout.readline() == "one\n"
    host.ctl("update", "--log-opt", "format=json-file", "web")
    touch(tmp_path, "go")
    assert follower.stdout.read() == "two\n" and follower.wait(60) == 0
    follower.stdout.close()


def test_followers_miss_no_file_however_fast_they_come(host, rootfs, tmp_path):
    run(host, rootfs, "web", "until [ -e /data/go ]; do sleep 0.05; done; seq 1 20000",
        *log_options(max_size="4k", max_files=1000, format="json-file"), mount=tmp_path)
    follower = host.popen([host.program("hydractl"), "logs", "-f", "web"], stdout=-1)
    touch(tmp_path, "go")
    assert follower.stdout.read() == lines(1, 20000) and follower.wait(60) == 0
    follower.stdout.close()


def test_a_changed_path_is_written_from_there_on(host, rootfs, tmp_path):
    run(host, rootfs, "web", "echo one; while [ ! -e /data/go ]; do sleep 0.05; done; echo two", mount=tmp_path)
    first = log_path(host, "web")
    wait_for_written(host, "web", 4)
    host.ctl("update", "--log-opt", "path=/run/other/web.log", "--log-opt", "format=raw", "web")
    touch(tmp_path, "go")
    ended(host, "web")
    assert first.read_bytes().endswith(b"F one\n") and host.path("/run/other/web.log").read_bytes() == b"two\n"
    assert log_bytes(host, "web") == b"one\ntwo\n" and host.ctl("logs", "--tail", "1", "web").stdout == "two\n"
    first.unlink()
    assert log_bytes(host, "web") == b"two\n"


def test_rotated_files_of_the_path_before_are_read_first(host, rootfs, tmp_path):
    run(host, rootfs, "web", "seq 1 3000; while [ ! -e /data/go ]; do sleep 0.05; done; seq 3001 3100",
        *log_options(max_size="4k", max_files=1000, format="json-file"), mount=tmp_path)
    wait_for(lambda: log_bytes(host, "web") == lines(1, 3000), "its output")
    host.ctl("update", "--log-opt", "path=/run/other/web.log", "--log-opt", "format=cri", "web")
    follower = host.popen([host.program("hydractl"), "logs", "-f", "web"], stdout=-1)
    touch(tmp_path, "go")
    assert follower.stdout.read() == lines(1, 3100) and follower.wait(60) == 0
    follower.stdout.close()
    assert log_bytes(host, "web") == lines(1, 3100)
    assert host.ctl("logs", "--tail", "150", "web").stdout.encode() == lines(2951, 3100)


@pytest.mark.parametrize("option", ["format=xml", "policy=maybe", "max-size=big", "max-files=0", "path=relative", "spill-size=1k", "what=ever"])
def test_options_that_make_no_sense_are_refused(host, rootfs, option):
    refused = host.ctl("run", "--rm", "--rootfs", rootfs, "--log-opt", option, "true", check=False)
    assert refused.returncode == 125 and option in refused.stderr and "expected" in refused.stderr


def test_a_link_in_the_logs_place_is_refused(host, rootfs):
    host.path("/run/planted").symlink_to("/run/elsewhere")
    refused = host.ctl("run", "--rm", "--name", "web", "--rootfs", rootfs, "--log-opt", "path=/run/planted", "true", check=False)
    assert refused.returncode == 125 and "/run/planted" in refused.stderr and not host.path("/run/elsewhere").exists()


class Journal:
    """A socket like systemd-journald's."""

    def __init__(self, host):
        folder = host.path("/run/systemd/journal")
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "socket"))
        self.socket.settimeout(60)

    def receive(self):
        """One message as a dictionary, by the native protocol."""
        data, fields = self.socket.recv(1 << 20), {}
        while data:
            name, data = data.split(b"\n", 1)
            if b"=" in name:
                name, value = name.split(b"=", 1)
            else:
                size = struct.unpack("<Q", data[:8])[0]
                value, data = data[8:8 + size], data[8 + size + 1:]
            fields[name.decode()] = value
        return fields

    def receive_text(self, size):
        """What so many bytes of output became; parts of lines are put together."""
        text = b""
        while len(text) < size:
            fields = self.receive()
            text += fields["MESSAGE"] + (b"" if "CONTAINER_PARTIAL_MESSAGE" in fields else b"\n")
        return text

    def close(self):
        self.socket.close()


@pytest.fixture
def journal(host):
    made = Journal(host)
    yield made
    made.close()


def test_the_journal_gets_each_line_with_its_fields(host, rootfs, journal, tmp_path):
    (tmp_path / "blob").write_bytes(b"a\0b\xff=c\nlast")
    run(host, rootfs, "web", "echo err >&2; sleep 0.2; cat /data/blob", *log_options(format="journald"), mount=tmp_path)
    common = {"CONTAINER_NAME": b"web", "CONTAINER_ID_FULL": b"web", "SYSLOG_IDENTIFIER": b"web", "HYDRA_NAMESPACE": b"default"}
    assert journal.receive() == {**common, "PRIORITY": b"3", "MESSAGE": b"err"}
    assert journal.receive() == {**common, "PRIORITY": b"6", "MESSAGE": b"a\0b\xff=c"}
    assert journal.receive() == {**common, "PRIORITY": b"6", "MESSAGE": b"last", "CONTAINER_PARTIAL_MESSAGE": b"true"}
    ended(host, "web")
    done = host.ctl("logs", "web")
    assert done.stdout == "" and "CONTAINER_NAME=web" in done.stderr


def test_a_full_journal_gets_everything_when_it_reads_again(host, rootfs, journal):
    run(host, rootfs, "web", "seq 1 5000; sleep 1000", *log_options(format="journald"))
    wait_for(lambda: counters(host, "web")["logReadBytes"] == len(lines(1, 5000)), "all output")
    assert counters(host, "web")["logSpilledBytes"] > 0
    assert journal.receive_text(len(lines(1, 5000))) == lines(1, 5000)
    wait_for_written(host, "web", len(lines(1, 5000)))


def test_an_absent_journal_is_waited_for(host, rootfs):
    run(host, rootfs, "web", "seq 1 100; sleep 1000", *log_options(format="journald"))
    stats = wait_for(lambda: (now := counters(host, "web"))["logSpilledBytes"] == len(lines(1, 100)) and now, "the output")
    assert stats["logProblem"] == "No such file or directory" and stats["logBytes"] == 0
    journal = Journal(host)
    assert journal.receive_text(len(lines(1, 100))) == lines(1, 100)
    journal.close()


def test_an_absent_journal_costs_the_oldest_when_too_much_waits(host, rootfs):
    run(host, rootfs, "web", "seq 1 50000; sleep 1000", *log_options(format="journald", spill_size="64k"))
    size = len(lines(1, 50000))
    stats = wait_for(lambda: (now := counters(host, "web"))["logReadBytes"] == size and now, "all output")
    assert 0 < stats["logSpilledBytes"] <= 65536 and stats["logDroppedBytes"] == size - stats["logSpilledBytes"]
