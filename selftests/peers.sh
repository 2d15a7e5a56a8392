#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The tests of peers with the devices on one interconnect.

MODULE=/lib/modules/dmirror.ko

# shellcheck disable=SC2086 # lists of arguments
{
	rmmod dmirror
	insmod "$MODULE" $DMIRROR_MODARGS interconnect=1 || exit 1
	./peers
	status=$?
	rmmod dmirror && insmod "$MODULE" $DMIRROR_MODARGS || exit 1
}
exit $status
