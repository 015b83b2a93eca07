#!/usr/bin/env bash
# One dataset for each folder below photos/, four at a time, with GNU parallel. A single run uses all CPUs by itself, so
# this is for many small folders, or with --sshlogin for many machines.
set -u
find "${1:-photos}" -mindepth 1 -maxdepth 1 -type d -print0 |
    parallel --null --jobs 4 --joblog "${2:-fvcli.log}" \
        'fvcli extract {} -o features/{/} --workers 1 --quiet || test $? -eq 3'
