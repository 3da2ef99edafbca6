# SPDX-License-Identifier: Apache-2.0
"""Every field that is parsed refuses what it cannot be, and every object what it must have, before anything is made."""
import json
import pathlib
import sys

from conftest import cgroup_dirs

SOURCE = pathlib.Path(__file__).parents[3]
sys.path.append(str(SOURCE / "tests" / "checks"))
from oci_tables import parsed_fields  # noqa: E402

NAME = "some"
# kind: (wrong value, where below the field, what is expected instead)
WRONG = {
    "BOOL": [("true", "", "true or false")],
    "STRING": [(5, "", "a string"), ({}, "", "a string")],
    "STRINGS": [("x", "", "an array of strings"), (["x", 5], "[1]", "a string")],
    "MAP": [([], "", "an object of strings"), ({NAME: 5}, f".{NAME}", "a string")],
    "INT": [("1", "", "a whole number"), (1.5, "", "a whole number"), (1 << 63, "", "a whole number")],
    "UINT": [("1", "", "a number, 0 or more"), (-1, "", "a number, 0 or more")],
    "ID": [("1", "", "a number from 0 to 4294967295"), (1 << 32, "", "a number from 0 to 4294967295")],
    "IDS": [(5, "", "an array of numbers"), ([1, -1], "[1]", "a number from 0 to 4294967295")],
    "OBJECT": [([], "", "an object")],
    "OPTIONAL": [("x", "", "an object")],
    "OBJECTS": [({}, "", "an array of objects"), ([5], "[0]", "an object")],
    "NAMED": [([], "", "an object of objects"), ({NAME: 5}, f".{NAME}", "an object")],
}
RIGHT = {"BOOL": True, "STRING": "x", "STRINGS": ["x"], "INT": 1, "UINT": 1, "ID": 1}


def put(config, path, value):
    """Sets what is at the path; lists that are passed get one item, objects with any name one member."""
    at = config
    for step, following in zip(path, path[1:] + ("",)):
        step = {"[]": 0, "*": NAME}.get(step, step)
        if following == "":
            at[step] = value
        elif not isinstance(at, list) and step not in at:
            at[step] = [{}] if following == "[]" else {}
        at = at[step]


def place(path):
    return ".".join(path).replace(".[]", "[0]").replace("*", NAME)


def minimal(bundle):
    return {"ociVersion": "1.3.0", "root": dict(bundle.config["root"]), "process": {"args": ["/bin/true"], "cwd": "/"}}


def refused(bundle, config):
    bundle.config = config
    message = bundle.refuses()
    assert not bundle.hydra.root.exists() or not list(bundle.hydra.root.iterdir())
    assert cgroup_dirs(bundle.id) == []
    return message.removeprefix("hydra: config.json: ").rstrip("\n")


def test_a_wrong_type_is_refused_in_every_field(bundle):
    fields = parsed_fields(SOURCE)
    template = minimal(bundle)
    for field in fields:
        for value, below, expected in WRONG[field.kind]:
            config = {**template, "root": dict(template["root"]), "process": dict(template["process"])}
            put(config, field.path, value)
            message = refused(bundle, config)
            assert message.startswith(f"{place(field.path)}{below}: expected {expected}, found "), (field, value, message)


def test_a_missing_field_is_missed_in_every_object(bundle):
    fields = parsed_fields(SOURCE)
    template = minimal(bundle)
    required = [field for field in fields if field.is_required]
    assert len(required) > 40
    for field in required:
        config = {**template, "root": dict(template["root"]), "process": dict(template["process"])}
        for other in required:
            if other.path[:-1] == field.path[:-1]:
                put(config, other.path, RIGHT[other.kind])
        put(config, field.path, None)
        assert refused(bundle, config) == f"{place(field.path)}: missing"


def part_of(fields, *beginning):
    size = len(beginning)
    return [field for field in fields if field.path[:size] == beginning and len(field.path) > size]


def test_a_wrong_type_is_refused_by_exec_and_update(bundle):
    fields = parsed_fields(SOURCE)
    bundle.sleeping()
    file = bundle.path / "process.json"
    for field in part_of(fields, "process"):
        value, below, expected = WRONG[field.kind][0]
        config = {"process": {"args": ["true"], "cwd": "/"}}
        put(config, field.path, value)
        file.write_text(json.dumps(config["process"]))
        message = bundle.hydra.refuses("exec", "--process", file, bundle.id, status=255)
        assert message.startswith(f"hydra: {place(field.path)}{below}: expected {expected}, found "), (field, message)
    for field in part_of(fields, "linux", "resources"):
        value, below, expected = WRONG[field.kind][0]
        config = {}
        put(config, field.path[1:], value)
        message = bundle.hydra.refuses("update", "--resources", "-", bundle.id, input=json.dumps(config["resources"]))
        assert message.startswith(f"hydra: {place(field.path[1:])}{below}: expected {expected}, found "), (field, message)
    assert bundle.hydra.state(bundle.id)["status"] == "running"
