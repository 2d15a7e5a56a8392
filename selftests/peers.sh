#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the tests of peers.c with the devices on one interconnect.

. "$(dirname "$0")/reload.sh"

# shellcheck disable=SC2086 # a list of words
run_with peers $DMIRROR_MODARGS interconnect=1
