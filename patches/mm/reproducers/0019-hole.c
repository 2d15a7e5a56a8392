// SPDX-License-Identifier: GPL-2.0
/* A hole that has migrated is mapped for writing. */
#include "reproducer.h"

int main(void)
{
	const size_t len = 16 * dm_page_size();
	int fd = device(PRIVATE);
	char *hole = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS);
	char *buf = malloc(len);
	struct hmm_cmd cmd;

	DM_CHECK(hole && buf);
	DM_CHECK(!hmm_call(fd, HMM_TO_DEV, hole, buf, npages(len), NULL));
	DM_CHECK(!with_buffer(fd, HMM_WRITE, hole, len, SEED, &cmd));
	DM_CHECK(!dm_bad(hole, len, SEED));
	fprintf(stderr, "# %llu faults\n", cmd.faults);
	return !!cmd.faults;
}
