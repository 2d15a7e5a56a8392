// SPDX-License-Identifier: GPL-2.0
/* The first huge page of a cgroup is made of a hole, on a device, and is split. */
#include "reproducer.h"

#define CGROUPS	"/sys/fs/cgroup/"

int main(void)
{
	char *mem = dm_map_flags(DM_HUGE, MADV_HUGEPAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);
	size_t page = dm_page_size();
	char *buf = malloc(DM_HUGE);
	int fd = device(PRIVATE);

	DM_CHECK(mem && buf);
	DM_CHECK(!dm_file_write(CGROUPS "cgroup.subtree_control", "+memory"));
	DM_CHECK(!mkdir(CGROUPS "new", 0755));
	DM_CHECK(!dm_file_write(CGROUPS "new/cgroup.procs", "0"));
	DM_CHECK(!hmm_call(fd, HMM_TO_DEV, mem, buf, npages(DM_HUGE), NULL));
	DM_CHECK(!hmm_call(fd, HMM_TO_SYS, mem + page, buf, 1, NULL));
	DM_CHECK(dm_zero(mem, DM_HUGE));
	return 0;
}
