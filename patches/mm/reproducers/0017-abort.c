// SPDX-License-Identifier: GPL-2.0
/* Each allocation of a migration to the system fails once. */
#include "reproducer.h"

#define LEN	(32 * dm_page_size())
#define FAIL	"/sys/kernel/debug/fail_page_alloc/"

/* True if there was an allocation number @nth. */
static bool fail_nth(int fd, int nth)
{
	char *mem = memory(LEN, false), text[16] = "";
	int knob = open("/proc/thread-self/fail-nth", O_RDWR), ret;
	long left;
	pid_t pid;

	DM_CHECK(knob >= 0);
	DM_CHECK(!to_device(fd, mem, LEN));
	snprintf(text, sizeof(text), "%d", nth);
	DM_CHECK(write(knob, text, strlen(text)) > 0);
	ret = hmm_call(fd, HMM_TO_SYS, mem, NULL, npages(LEN), NULL);
	DM_CHECK(pread(knob, text, sizeof(text) - 1, 0) > 0);
	left = strtol(text, NULL, 0);
	DM_CHECK(pwrite(knob, "0", 1, 0) > 0);
	close(knob);
	DM_CHECK(left ? !ret : !ret || ret == -ENOMEM);

	/* Nobody waits for ever for what was not brought back. */
	pid = fork();
	if (!pid)
		_exit(dm_bad(mem, LEN, SEED) != 0);
	DM_CHECK(!dm_wait_for(pid, 20));
	DM_CHECK(!dm_bad(mem, LEN, SEED));
	munmap(mem, LEN);
	return !left;
}

int main(void)
{
	int fd = device(PRIVATE), nth = 1;

	DM_CHECK(!dm_file_write(FAIL "min-order", "0"));
	DM_CHECK(!dm_file_write(FAIL "ignore-gfp-wait", "N"));
	DM_CHECK(!dm_file_write(FAIL "ignore-gfp-highmem", "N"));
	while (fail_nth(fd, nth))
		nth++;
	fprintf(stderr, "# %d allocations failed\n", nth - 1);
	DM_CHECK(nth > (int)npages(LEN));
	return 0;
}
