#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# hmm_range_fault() of a page in the middle of a huge one that is device private.

insmod /reproducer.ko test=huge
