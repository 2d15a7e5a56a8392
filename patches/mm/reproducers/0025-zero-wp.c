// SPDX-License-Identifier: GPL-2.0
/* Zero pages that are write-protected with userfaultfd migrate to a device. */
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#include "reproducer.h"

#define UFFD_WP		0x200000000000000ULL	/* in /proc/self/pagemap */

static size_t count_protected(const char *mem, size_t len)
{
	__u64 *entries = calloc(npages(len), sizeof(*entries));
	size_t i, count = 0;

	DM_CHECK(entries && !dm_pagemap(mem, len, entries));
	for (i = 0; i < npages(len); i++)
		count += !!(entries[i] & UFFD_WP);
	free(entries);
	return count;
}

static void protect_and_migrate(int fd, size_t len, bool huge)
{
	char *mem = dm_map_flags(len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE,
				 PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)mem, len },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)mem, len },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	char *buf = malloc(len);

	DM_CHECK(mem && buf && uffd >= 0);
	DM_CHECK(!ioctl(uffd, UFFDIO_API, &api));
	DM_CHECK(!ioctl(uffd, UFFDIO_REGISTER, &reg));
	DM_CHECK(dm_zero(mem, len));
	DM_CHECK(!ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
	DM_CHECK(count_protected(mem, len) == npages(len));

	/* Whether it migrates or not. */
	hmm_call(fd, HMM_TO_DEV, mem, buf, npages(len), NULL);
	DM_CHECK(count_protected(mem, len) == npages(len));
	close(uffd);
	munmap(mem, len);
	free(buf);
}

int main(void)
{
	int fd = device(PRIVATE);

	protect_and_migrate(fd, 16 * dm_page_size(), false);
	protect_and_migrate(fd, DM_HUGE, true);
	return 0;
}
