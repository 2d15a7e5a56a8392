// SPDX-License-Identifier: GPL-2.0
/* One fault brings back a page of a large folio that is mapped by PTEs. */
#include <sys/resource.h>

#include "reproducer.h"

static long faults(void)
{
	struct rusage usage;

	DM_CHECK(!getrusage(RUSAGE_SELF, &usage));
	return usage.ru_minflt + usage.ru_majflt;
}

int main(void)
{
	int fd = device(PRIVATE);
	char *mem = memory(DM_HUGE, true);
	long before, after;

	faults();
	DM_CHECK(!to_device(fd, mem, DM_HUGE));
	split_pmd(mem);
	before = faults();
	dm_peek(mem + 5 * dm_page_size());
	after = faults();
	fprintf(stderr, "# %ld faults\n", after - before);
	DM_CHECK(after - before == 1);
	DM_CHECK(!dm_bad(mem, DM_HUGE, SEED));
	return 0;
}
