// SPDX-License-Identifier: GPL-2.0
/* A huge page has to leave the device, and the system has none free. */
#include "reproducer.h"

#define FAIL	"/sys/kernel/debug/fail_page_alloc/"

static void fail_huge(bool fail)
{
	DM_CHECK(!dm_file_write(FAIL "min-order", fail ? "9" : "1"));
	DM_CHECK(!dm_file_write(FAIL "ignore-gfp-wait", "N"));
	DM_CHECK(!dm_file_write(FAIL "ignore-gfp-highmem", "N"));
	DM_CHECK(!dm_file_write(FAIL "times", "-1"));
	DM_CHECK(!dm_file_write(FAIL "probability", fail ? "100" : "0"));
}

int main(void)
{
	int fd = device(PRIVATE), other = device(PRIVATE);
	char *mem = memory(DM_HUGE, true);

	DM_CHECK(!to_device(fd, mem, DM_HUGE));
	fail_huge(true);
	/* Who closes a file empties the whole device. */
	close(other);
	fail_huge(false);
	DM_CHECK(!dm_bad(mem, DM_HUGE, SEED));
	close(fd);
	return 0;
}
