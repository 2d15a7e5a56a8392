// SPDX-License-Identifier: GPL-2.0
/* Active memory on device pages that unevictable memory had before. */
#include "reproducer.h"

#define LEN	(64 * dm_page_size())

/* Reading it this way is what makes a page active. */
static void make_active(char *mem)
{
	char *buf = malloc(LEN);
	int fd = open("/proc/self/mem", O_RDONLY), i;

	DM_CHECK(fd >= 0 && buf);
	for (i = 0; i < 10 && !(dm_kpageflags(mem) & DM_KPF_ACTIVE); i++) {
		dm_settle();
		DM_CHECK(pread(fd, buf, LEN, (uintptr_t)mem) == (ssize_t)LEN);
		dm_settle();
	}
	DM_CHECK(dm_kpageflags(mem) & DM_KPF_ACTIVE);
	close(fd);
	free(buf);
}

/*
 * A child has it locked. The parent, which has not, moves it to the device as pages
 * that are unevictable, and these end with both.
 */
static void lock_and_move(int fd)
{
	char *mem = memory(LEN, false);
	__u64 *turn = dm_shared();
	pid_t pid = fork();

	if (!pid) {
		/* So that mlock() gets it no copy. */
		DM_CHECK(!mprotect(mem, LEN, PROT_READ));
		DM_CHECK(!mlock(mem, LEN));
		dm_settle();
		dm_poke(turn, 1);
		dm_await(turn, 2);
		_exit(0);
	}
	dm_await(turn, 1);
	DM_CHECK(!to_device(fd, mem, LEN));
	munmap(mem, LEN);
	dm_poke(turn, 2);
	DM_CHECK(!dm_wait(pid));
	dm_settle();
}

int main(void)
{
	int fd = device(PRIVATE);
	char *mem;

	lock_and_move(fd);
	mem = memory(LEN, false);
	make_active(mem);
	DM_CHECK(!to_device(fd, mem, LEN));
	DM_CHECK(!dm_bad(mem, LEN, SEED));
	return 0;
}
