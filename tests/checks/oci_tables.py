# SPDX-License-Identifier: Apache-2.0
"""The field tables of runtime/spec_fields*.c, read as what they are: lists of lines in braces."""
import pathlib
import re
from typing import NamedTuple

TABLE = re.compile(r"^(?:static )?const struct field (\w+)\[\] = \{\n(.*?)^\};", re.M | re.S)
LINE = re.compile(r'^\t\{"(\w+)", FIELD_(\w+), offsetof\([^)]*\)((?:, [^\n]*)?)\},$', re.M)


class Field(NamedTuple):
    path: tuple  # ("mounts", "[]", "destination"); "[]" is any index, "*" any name
    kind: str
    is_required: bool

    @property
    def name(self):
        return ".".join(self.path).replace(".[]", "[]")


def read_tables(source):
    tables = {}
    for file in sorted((pathlib.Path(source) / "runtime").glob("spec_fields*.c")):
        text = file.read_text()
        for name, body in TABLE.findall(text):
            rows = LINE.findall(body)
            if len(rows) != body.count("{\""):
                raise ValueError(f"{file}: a line of {name} has another form than the others")
            tables[name] = rows
    return tables


def walk(tables, name, path):
    below = {"OBJECTS": ("[]",), "NAMED": ("*",)}
    for field, kind, rest in tables[name]:
        here = path + (field,)
        yield Field(here, kind, "is_required = true" in rest)
        table = re.match(r", (\w+_fields)\b", rest)
        if table:
            yield from walk(tables, table[1], here + below.get(kind, ()))


def parsed_fields(source):
    """Every field of config.json that is parsed, objects before what is in them."""
    return list(walk(read_tables(source), "spec_fields", ()))
