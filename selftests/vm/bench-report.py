#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""bench-report.py BASE: tables and ratios from what make bench left in BASE.csv,
BASE-phases.csv and BASE-hmm-tests-*.txt."""

import csv
import os
import re
import sys

DRIVERS = ["test_hmm", "dmirror-hmm", "dmirror", "floor", "memcpy"]
NOISE = 1.05
# Of fewer runs than these, all but the longest are less than 99 %.
P99_RUNS = 100
# How many copy at the same time: the VM has as many CPUs, a device as many engines.
COPIES = 2
# Where that was tried: the same copy by one thread and by two.
COPY_CASES = ("to_system/64M/small", "to_system/64M/small/t2")
UNITS = [(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")]


def rows_of(name):
    if not os.path.exists(name):
        return []
    with open(name, newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


def number(text):
    return None if text == "-" else float(text)


def short(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def cells(row, unit):
    if row is None:
        return ["", "", ""]
    if row["median_ns"] == "-":
        return ["-", "-", "0"]
    return [short(number(row[key]) / unit) for key in ("median_ns", "p99_ns")] + [row["runs"]]


def print_table(cases):
    """Medians and p99 of every driver, a case a line, in a unit that suits the case."""
    print("\nmedian, 99th percentile and number of runs")
    print(f"{'':41}" + "".join(f"{d:>20}" for d in DRIVERS))
    print(f"{'case':41}" + len(DRIVERS) * f"{'median':>8}{'p99':>7}{'n':>5}")
    for case, by_driver in cases.items():
        known = [number(r["median_ns"]) for r in by_driver.values() if r["median_ns"] != "-"]
        unit, name = next(u for u in UNITS if min(known, default=0) >= u[0] or u[0] == 1)
        line = f"{case:38}{name:3}"
        for driver in DRIVERS:
            median, p99, runs = cells(by_driver.get(driver), unit)
            line += f"{median:>8}{p99:>7}{runs:>5}"
        print(line.rstrip())
    few = {int(r["runs"]) for by_driver in cases.values() for r in by_driver.values()}
    few = ", ".join(str(n) for n in sorted(few) if 0 < n < P99_RUNS)
    if few:
        print(f"of fewer than {P99_RUNS} runs, p99 is the longest; here where n is {few}")


class Ratios:
    """Prints ratios with their targets, and keeps count."""

    def __init__(self, cases, phases):
        self.cases = cases
        self.phases = {row["case"]: row for row in phases}
        self.reached = self.missed = self.beyond = 0

    def time(self, case, driver):
        row = self.cases.get(case, {}).get(driver)
        return number(row["median_ns"]) if row else None

    def copy_time(self, case):
        """One copy of the bytes with all CPUs: two are seldom twice as fast as one."""
        one, both = (self.time(c, "memcpy") for c in COPY_CASES)
        speedup = min(max(one / both, 1), COPIES) if one and both else COPIES
        copy = self.time(case, "memcpy")
        return copy / (1 if case.endswith("/t2") else speedup) if copy else None

    def show(self, text, value, target, least, bound=None):
        good = value >= target if least else value <= target
        verdict = "reached" if good else "missed"
        self.reached += good
        self.missed += not good
        if not good and bound and (bound < target if least else bound > target):
            self.beyond += 1
            verdict += f", {bound:.2f} at {'most' if least else 'least'}"
        print(f"{text:78}{value:8.2f}   {'>=' if least else '<='} {target:<5g}{verdict}")

    def mm_time(self, case):
        """An empty migration has less to finish: of a full one, mm has the share that its
        phases say. They are traced one by one, colder than the case ran."""
        row, ours = self.phases.get(case), self.time(case, "dmirror")
        if not row or not ours:
            return self.time(case, "floor")
        mm = sum(float(row[p + "_ns"]) for p in ("setup", "pages", "finalize"))
        return ours * mm / float(row["total_ns"])

    def least_time(self, case, driver):
        """What the case takes if nothing is added to mm's part and to the copies of the bytes."""
        mm, copy = self.mm_time(case), self.copy_time(case)
        if not mm or not copy:
            return None
        # The ABI of test_hmm reads back what went to the device, in the caller.
        reads = driver == "dmirror-hmm" and case.startswith("to_device/")
        return mm + copy + (self.time(case, "memcpy") if reads else 0)

    def faster(self, case, driver, target, least=None):
        ours, theirs = self.time(case, driver), self.time(case, "test_hmm")
        least = least or self.least_time(case, driver)
        if ours and theirs:
            self.show(f"{case}: {driver}, times as fast as test_hmm", theirs / ours, target, True,
                      theirs / least if least else None)

    def yardstick(self, case):
        ours, floor, copy = (self.time(case, d) for d in ("dmirror", "floor", "memcpy"))
        if ours and floor and copy:
            self.show(f"{case}: dmirror, time by floor + memcpy", ours / (floor + copy), 1.3,
                      False, self.least_time(case, "dmirror") / (floor + copy))

    def like_floor(self, case):
        ours, floor = self.time(case, "dmirror"), self.time(case, "floor")
        if ours and floor:
            self.show(f"{case}: dmirror, time by that without a mirror",
                      ours / floor, NOISE, False)


def print_ratios(cases, phases, newest):
    print("\nratios of medians, their targets")
    ratios = Ratios(cases, phases)
    size = {case: int(next(iter(rows.values()))["bytes"]) for case, rows in cases.items()}
    migrations = [c for c in cases if c.startswith("to_")]
    for case in migrations:
        if size[case] >= 2 << 20:
            ratios.yardstick(case)
    for case in migrations:
        device = case.startswith("to_device/")
        ratios.faster(case, "dmirror-hmm", 1.5 if device else 1.2)
        ratios.faster(case, "dmirror", 2 if device else 1.2)
    for case in cases:
        if case.startswith("cpu_readback/"):
            least = ratios.least_time(case.replace("cpu_readback", "to_system"), "dmirror")
            ratios.faster(case, "dmirror", 6, least)
    for case in cases:
        if "untouched" in case:
            ratios.like_floor(case)
        elif not case.startswith(("to_", "cpu_readback/")):
            ratios.faster(case, "dmirror", 1)
    for row in phases:
        if newest and "/thp" in row["case"]:
            copy, floor = float(row["copy_ns"]), ratios.time(row["case"], "floor")
            ratios.show(f"{row['case']}: the copy, share of the whole",
                        copy / float(row["total_ns"]), 0.8, True,
                        copy / (copy + floor) if floor else None)
    print(f"{ratios.reached} reached, {ratios.missed} missed, of these {ratios.beyond} out of reach:"
          f"\nmm's part and the copies of the bytes, by {COPIES} at a time, take longer by themselves")


def print_phases(phases):
    if not phases:
        return
    names = [key[:-3] for key in phases[0] if key.endswith("_ns") and key != "total_ns"]
    print("\nphases of a migration by dmirror, shares of the whole")
    print(f"{'case':24}{'ms':>9}" + "".join(f"{n:>10}" for n in names + ["other"]))
    for row in phases:
        total = float(row["total_ns"])
        shares = [float(row[n + "_ns"]) / total for n in names]
        shares.append(1 - sum(shares))
        print(f"{row['case']:24}{total / 1e6:9.4g}" + "".join(f"{s:>10.1%}" for s in shares))


def hmm_benchmark(name):
    """{(size, direction): (ms with THP, ms without)} of what the benchmark printed."""
    found, size = {}, None
    if not os.path.exists(name):
        return found
    with open(name, encoding="utf-8", errors="replace") as file:
        for line in file:
            header = re.search(r"=== .* \(([0-9.]+) MB\) ===", line)
            times = re.match(r"(\w+->\w+) Migration *\| ([0-9.]+) ms *\| ([0-9.]+) ms", line)
            if header:
                size = header[1]
            elif times:
                found[size, times[1]] = (float(times[2]), float(times[3]))
    return found


def print_hmm_benchmark(base):
    theirs = hmm_benchmark(base + "-hmm-tests-test_hmm.txt")
    ours = hmm_benchmark(base + "-hmm-tests-dmirror.txt")
    if not theirs and not ours:
        return
    print("\nbenchmark_thp_migration of the kernel's hmm-tests, ms")
    print(f"{'':24}{'with THP':^34}{'without THP':^34}")
    print(f"{'':24}" + 2 * f"{'test_hmm':>12}{'dmirror-hmm':>12}{'ratio':>10}")
    none = (float("nan"), float("nan"))
    for key in theirs | ours:
        line = f"{key[1]} {key[0] + ' MiB':>14} "
        for a, b in zip(theirs.get(key, none), ours.get(key, none)):
            line += f"{a:12.3f}{b:12.3f}{a / b if b else float('nan'):10.2f}"
        print(line)


def main():
    base = sys.argv[1]
    cases = {}
    for row in rows_of(base + ".csv"):
        cases.setdefault(row["case"], {})[row["driver"]] = row
    phases = rows_of(base + "-phases.csv")
    print_table(cases)
    print_phases(phases)
    print_hmm_benchmark(base)
    print_ratios(cases, phases, os.path.basename(base) in ("latest", "stock"))


main()
