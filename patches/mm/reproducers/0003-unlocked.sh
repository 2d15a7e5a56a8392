#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A driver that does not lock its destination is warned, and does no harm.

echo 0 >/proc/sys/kernel/panic_on_warn
insmod /reproducer.ko test=unlocked || exit
[ $(($(cat /proc/sys/kernel/tainted) & 512)) != 0 ]
