// SPDX-License-Identifier: GPL-2.0
/* The page behind a range that is invalidated stays mapped. */
#include "reproducer.h"

int main(void)
{
	size_t page = dm_page_size();
	int fd = device(PRIVATE);
	char *mem = memory(2 * page, false);
	char *buf = malloc(page);
	struct hmm_cmd cmd;

	DM_CHECK(!device_read(fd, mem, 2 * page, SEED));
	DM_CHECK(!madvise(mem, page, MADV_DONTNEED));
	DM_CHECK(!hmm_call(fd, HMM_READ, mem + page, buf, 1, &cmd));
	fprintf(stderr, "# %llu faults\n", cmd.faults);
	DM_CHECK(cmd.faults == 0);
	return 0;
}
