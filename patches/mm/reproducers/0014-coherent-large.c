// SPDX-License-Identifier: GPL-2.0
/* A huge page comes back from a coherent device whose memory was released. */
#include "reproducer.h"

int main(void)
{
	int fd = device(COHERENT);
	char *mem = memory(DM_HUGE, true);
	struct hmm_cmd cmd;

	DM_CHECK(!hmm_call(fd, HMM_RELEASE, mem, NULL, 1, NULL));
	DM_CHECK(!to_device(fd, mem, DM_HUGE));
	DM_CHECK(!hmm_call(fd, HMM_TO_SYS, mem, NULL, npages(DM_HUGE), &cmd));
	fprintf(stderr, "# %llu pages came back\n", cmd.cpages);
	DM_CHECK(cmd.cpages == npages(DM_HUGE));
	DM_CHECK(!dm_bad(mem, DM_HUGE, SEED));
	return 0;
}
