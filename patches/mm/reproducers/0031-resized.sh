#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A page of a device is to be evicted of which the driver makes a large folio meanwhile.

insmod /reproducer.ko test=resized
