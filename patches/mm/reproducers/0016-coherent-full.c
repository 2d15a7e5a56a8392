// SPDX-License-Identifier: GPL-2.0
/* More than a coherent device has, filled and as a hole. */
#include "reproducer.h"

#define DEVICE_SIZE	(256UL << 20)

int main(void)
{
	size_t len = DEVICE_SIZE + 2 * DM_HUGE;
	int fd = device(COHERENT);
	char *buf = malloc(len), *mem;

	/* What the patch before this one is about is no reason to stop. */
	DM_CHECK(!dm_file_write("/proc/sys/kernel/panic_on_warn", "0"));
	mem = memory(len, true);
	DM_CHECK(hmm_call(fd, HMM_TO_DEV, mem, buf, npages(len), NULL) == -ENOENT);
	DM_CHECK(!dm_bad(mem, len, SEED));
	munmap(mem, len);

	mem = dm_map_flags(len, MADV_HUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	DM_CHECK(hmm_call(fd, HMM_TO_DEV, mem, buf, npages(len), NULL) == -ENOENT);
	DM_CHECK(dm_zero(mem, len));
	return 0;
}
