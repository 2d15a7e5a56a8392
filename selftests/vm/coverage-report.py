#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which lines were run, from the counters that the VM sent.

The folder has one folder for each part of the run, with the kernel's .gcda files at the paths
where the objects were built; gcov finds what it needs beside those objects.
"""
import argparse
import collections
import csv
import json
import os
import re
import subprocess
import sys
import tempfile

PARTS = ("hmm-tests", "suites")
MM = ("mm/migrate_device.c", "mm/hmm.c")


def gcov(counters, objects):
    """What gcov makes of a .gcda file and the .gcno file at the same place among the objects."""
    notes = os.path.splitext(objects)[0] + ".gcno"
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, os.path.basename(objects))
        os.symlink(os.path.abspath(counters), name)
        os.symlink(notes, os.path.splitext(name)[0] + ".gcno")
        run = subprocess.run(["gcov", "--json-format", "--stdout", name], cwd=folder, check=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(run.stdout)


def name_of(path):
    """How the table calls a source file, or None if it is not in the table."""
    folder, base = os.path.split(path)
    if folder.endswith("/drivers/dmirror"):
        return base
    return next((name for name in MM if path.endswith("/" + name)), None)


def read_part(folder):
    """{file: {line: (count, function)}} of a part of the run."""
    lines = collections.defaultdict(dict)
    for where, _, files in os.walk(folder):
        for base in files:
            counters = os.path.join(where, base)
            data = gcov(counters, "/" + os.path.relpath(counters, folder))
            for source in data["files"]:
                path = os.path.normpath(
                    os.path.join(data["current_working_directory"], source["file"]))
                name = name_of(path)
                if not name:
                    continue
                text = Source(path)
                for line in source["lines"]:
                    number = line["line_number"]
                    count, function = lines[name].get(number, (0, text.function(number)))
                    lines[name][number] = (count + line["count"], function)
    return lines


class Source:
    """Finds the function that a line is in; gcov has none for what is inlined everywhere."""
    HEAD = re.compile(r"^\w[\w \t*]*?(\w+)\((?!.*;$)")

    def __init__(self, path):
        with open(path, encoding="utf-8") as text:
            self.heads = [match and match[1] for match in map(self.HEAD.match, text)]

    def function(self, number):
        return next(filter(None, reversed(self.heads[:number])), "")


def table(parts, names):
    """[[file, lines, reached by hmm-tests, by the suites, by both]], with a sum of the driver."""
    rows = []
    for name in names:
        numbers = sorted(set().union(*(part[name] for part in parts)))
        counts = [[part[name].get(n, (0, ""))[0] > 0 for n in numbers] for part in parts]
        rows.append([name, len(numbers), *map(sum, counts), sum(map(any, zip(*counts)))])
    driver = [row[1:] for row in rows if row[0] not in MM]
    rows.append(["the driver", *map(sum, zip(*driver))])
    return rows


def show(rows):
    print(f"{'lines of':24}{'':>8}{'hmm-tests':>12}{'suites':>12}{'both':>12}")
    for name, total, *reached in rows:
        shares = "".join(f"{count:6} {100 * count / total:4.1f}%" for count in reached)
        print(f"{name:24}{total:8}{shares}")


def read_reasons(path):
    """{(file, function): lines that may be missed}"""
    reasons = {}
    with open(path, encoding="utf-8") as text:
        for line in text:
            if line.strip() and not line.startswith("#"):
                name, function, number, _ = line.split(":", 3)
                reasons[name, function] = int(number)
    return reasons


def missed(parts, names):
    """{(file, function): [lines]} of the driver's lines that nothing reached."""
    functions = collections.defaultdict(list)
    for name in names:
        for number in sorted(set().union(*(part[name] for part in parts))):
            found = [part[name][number] for part in parts if number in part[name]]
            if not any(count for count, _ in found):
                functions[name, found[0][1]].append(number)
    return functions


def complain(functions, reasons):
    """Prints what has no reason, and how many lines have one; true if nothing is without."""
    bad = {key: lines for key, lines in functions.items() if len(lines) > reasons.get(key, 0)}
    for (name, function), lines in sorted(bad.items()):
        print(f"not reached: {name}:{function}: {len(lines)} lines: "
              f"{' '.join(map(str, lines))}; {reasons.get((name, function), 0)} have a reason")
    known = sum(len(lines) for key, lines in functions.items() if key not in bad)
    print(f"{known} lines of the driver are not reached for reasons in selftests/coverage.txt, "
          f"{sum(map(len, bad.values()))} are in functions that have more than those")
    return not bad


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--reasons", required=True)
    parser.add_argument("folder")
    args = parser.parse_args()
    parts = [read_part(os.path.join(args.folder, part)) for part in PARTS]
    driver = sorted(set().union(*parts) - set(MM))
    rows = table(parts, [*driver, *MM])
    with open(args.csv, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["file", "lines", "hmm_tests", "suites", "both"])
        writer.writerows(rows)
    show(rows)
    return 0 if complain(missed(parts, driver), read_reasons(args.reasons)) else 1


sys.exit(main())
