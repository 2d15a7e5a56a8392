// SPDX-License-Identifier: GPL-2.0
/* Pss of a huge page on the device that two processes share. */
#include "reproducer.h"

int main(void)
{
	int fd = device(PRIVATE);
	char *mem = memory(DM_HUGE, true);
	__u64 *turn = dm_shared();
	long pss, dirty;
	pid_t pid;

	DM_CHECK(!to_device(fd, mem, DM_HUGE));
	pid = fork();
	if (!pid) {
		dm_await(turn, 1);
		_exit(0);
	}
	pss = dm_smaps(mem, DM_HUGE, "Pss");
	dirty = dm_smaps(mem, DM_HUGE, "Private_Clean") +
		dm_smaps(mem, DM_HUGE, "Private_Dirty");
	dm_poke(turn, 1);
	DM_CHECK(!dm_wait(pid));
	fprintf(stderr, "# Pss %ld kB, private %ld kB\n", pss, dirty);
	DM_CHECK(pss == DM_HUGE / 1024 / 2 && !dirty);
	return 0;
}
