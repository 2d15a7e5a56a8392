// SPDX-License-Identifier: GPL-2.0
/* A device is let at memory that the kernel itself has no mapping of. */
#include <sys/syscall.h>

#include "reproducer.h"

int main(void)
{
	size_t len = 4 * dm_page_size();
	int fd = device(PRIVATE), secret = syscall(__NR_memfd_secret, 0);
	char *mem;

	DM_CHECK(secret >= 0);
	DM_CHECK(!ftruncate(secret, len));
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, secret, 0);
	DM_CHECK(mem != MAP_FAILED);
	dm_fill(mem, len, SEED);
	DM_CHECK(device_read(fd, mem, len, SEED) == -EFAULT);
	DM_CHECK(device_write(fd, mem, len, SEED + 1) == -EFAULT);
	DM_CHECK(!dm_bad(mem, len, SEED));
	return 0;
}
