// SPDX-License-Identifier: GPL-2.0
/* PAGEMAP_SCAN that protects memory while it is on the device. */
#include <sys/syscall.h>

#include "dmirror_scan.h"
#include "reproducer.h"

static void scan_and_write(int fd, size_t len, bool huge)
{
	long page = dm_page_size(), all = len;
	char *mem = memory(len, huge);
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED,
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)mem, len },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	DM_CHECK(uffd >= 0);
	DM_CHECK(!ioctl(uffd, UFFDIO_API, &api));
	DM_CHECK(!ioctl(uffd, UFFDIO_REGISTER, &reg));

	/* All has been written when it comes there, and nothing since */
	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(dm_scan_written(mem, len) == all);
	DM_CHECK(dm_scan_written(mem, len) == 0);

	/* To come back is not to be written */
	DM_CHECK(!dm_bad(mem, len, SEED));
	DM_CHECK(dm_scan_written(mem, len) == 0);
	dm_poke(mem, dm_peek(mem));
	DM_CHECK(dm_scan_written(mem, len) >= page);

	/* What the device writes is told while it is there */
	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(dm_scan_written(mem, len) == 0);
	DM_CHECK(!device_write(fd, mem, page, SEED));
	DM_CHECK(dm_scan_written(mem, len) >= page);
	close(uffd);
	munmap(mem, len);
}

int main(void)
{
	int fd = device(PRIVATE);

	scan_and_write(fd, 16 * dm_page_size(), false);
	scan_and_write(fd, DM_HUGE, true);
	return 0;
}
