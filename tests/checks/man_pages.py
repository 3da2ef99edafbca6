#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a command or an option is in a program's --help and not in its man page, or the other way round.

man_pages.py FOLDER PROGRAM…: FOLDER has the sources of the man pages. What a page has of a command stands in the list below
its heading (.SS, .Ss), what it has of the program itself in the section OPTIONS.
"""
import pathlib
import re
import subprocess
import sys

HELP_OPTION = re.compile(r"^ +(?:-(\w), +)?--([\w-]+)", re.M)


def ask(program, *command):
    done = subprocess.run([program, *command, "--help"], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def options_of_help(text):
    return {option for pair in HELP_OPTION.findall(text) for option in pair if option}


def program_of_help(program):
    text = ask(program)
    listed = re.search(r"^commands.*?:\n(.*?)\n\n", text + "\n\n", re.M | re.S | re.I)
    commands = re.findall(r"^  ([a-z][a-z-]*) ", listed[1], re.M) if listed else []
    told = {"": options_of_help(text)}
    for command in commands:
        about = ask(program, command)
        # a program whose options are those of every command tells the same again
        told[command] = set() if about == text else options_of_help(about)
    return told


def options_of_tag(line):
    if line.startswith(".It "):
        return re.findall(r"\bFl (?:Fl )?([\w-]+)", line)
    return re.findall(r"(?<![\w-])--?(\w[\w-]*)", re.sub(r'^\.\w+ ', "", line).replace('"', " "))


def commands_of_heading(line):
    words = line.split(None, 1)[1].strip('"')
    return re.match(r"[a-z-]+(?:, [a-z-]+)*", words)[0].split(", ")


def program_of_page(page):
    told, section, scope, is_tag = {"": set()}, "", [], False
    for line in page.read_text().splitlines():
        if re.match(r"\.S[Hh] ", line):
            section = line[4:].strip('" ')
            scope = [""] if section == "OPTIONS" else []
        elif re.match(r"\.S[Ss] ", line) and section == "COMMANDS":
            scope = commands_of_heading(line)
            told.update({command: set() for command in scope})
        elif is_tag or line.startswith(".It "):
            for command in scope:
                told[command].update(options_of_tag(line))
        is_tag = line in (".TP", ".TQ")
    return told


def differences(name, told, written):
    for command in sorted(told.keys() | written.keys()):
        if command not in written or command not in told:
            yield f"{name}: command {command} is only in {'--help' if command in told else 'the man page'}"
            continue
        for option in sorted((told[command] ^ written[command]) - {"h", "help"}):
            yield f"{name} {command}: option {option} is only in {'--help' if option in told[command] else 'the man page'}"


def main():
    found = []
    for program in sys.argv[2:]:
        name = pathlib.Path(program).name
        pages = list(pathlib.Path(sys.argv[1]).glob(name + ".[18]"))
        if len(pages) == 1:
            found += differences(name, program_of_help(program), program_of_page(pages[0]))
        else:
            found.append(f"{name} has {len(pages)} man pages")
    print("\n".join(found))
    sys.exit(bool(found))


main()
