#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A huge page is unmapped while it is on its way from the device.

insmod /reproducer.ko test=zapped
