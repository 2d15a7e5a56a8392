// SPDX-License-Identifier: GPL-2.0
/* A device writes to memory of its own that fork made shared. */
#include "reproducer.h"

static void write_to_shared(int fd, size_t len, bool huge)
{
	char *mem = memory(len, huge);
	__u64 *turn = dm_shared();
	pid_t pid;

	DM_CHECK(!to_device(fd, mem, len));
	pid = fork();
	if (!pid) {
		dm_await(turn, 1);
		_exit(dm_bad(mem, len, SEED) != 0);
	}
	DM_CHECK(!device_write(fd, mem, len, SEED + 1));
	dm_poke(turn, 1);
	DM_CHECK(!dm_wait(pid));
	DM_CHECK(!dm_bad(mem, len, SEED + 1));
	munmap(mem, len);

	/* Where nobody may write, the device may not either. */
	mem = memory(len, huge);
	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(!mprotect(mem, len, PROT_READ));
	DM_CHECK(device_write(fd, mem, len, SEED + 1) == -EPERM);
	DM_CHECK(!dm_bad(mem, len, SEED));
	munmap(mem, len);
}

int main(void)
{
	int fd = device(PRIVATE);

	write_to_shared(fd, 16 * dm_page_size(), false);
	write_to_shared(fd, DM_HUGE, true);
	return 0;
}
