#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# All that maps a page goes away while it is evicted.

insmod /reproducer.ko test=gone
