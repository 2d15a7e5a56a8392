// SPDX-License-Identifier: GPL-2.0
/* Memory that is unlocked on the device is not counted as locked for ever. */
#include "reproducer.h"

#define LEN	(256 * 4096UL)

int main(void)
{
	int fd = device(PRIVATE);
	long before = dm_meminfo("Mlocked"), after;
	char *mem = memory(LEN, false);

	DM_CHECK(!mlock(mem, LEN));
	DM_CHECK(!to_device(fd, mem, LEN));
	DM_CHECK(!munlock(mem, LEN));
	DM_CHECK(!munmap(mem, LEN));
	after = dm_meminfo("Mlocked");
	fprintf(stderr, "# Mlocked: %ld kB, then %ld kB\n", before, after);
	DM_CHECK(before == after);
	return 0;
}
