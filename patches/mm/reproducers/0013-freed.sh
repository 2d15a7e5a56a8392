#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A page of a device is to be evicted that has just been, and has not been freed yet.

insmod /reproducer.ko test=freed
