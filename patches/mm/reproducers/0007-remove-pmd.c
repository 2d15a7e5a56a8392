// SPDX-License-Identifier: GPL-2.0
/* A huge page that fork made shared migrates to private memory. */
#include "reproducer.h"

int main(void)
{
	int fd = device(PRIVATE);
	char *mem = memory(DM_HUGE, true);
	__u64 *turn = dm_shared();
	pid_t pid = fork();

	if (!pid) {
		dm_await(turn, 1);
		_exit(dm_bad(mem, DM_HUGE, SEED) != 0);
	}
	DM_CHECK(!to_device(fd, mem, DM_HUGE));
	dm_poke(turn, 1);
	DM_CHECK(!dm_wait(pid));
	DM_CHECK(!dm_bad(mem, DM_HUGE, SEED));
	return 0;
}
