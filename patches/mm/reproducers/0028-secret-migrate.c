// SPDX-License-Identifier: GPL-2.0
/* Memory that the kernel itself has no mapping of is to be copied to a device. */
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
	dm_settle();
	DM_CHECK(with_buffer(fd, HMM_TO_DEV, mem, len, SEED, NULL) == -EINVAL);
	DM_CHECK(!dm_bad(mem, len, SEED));
	return 0;
}
