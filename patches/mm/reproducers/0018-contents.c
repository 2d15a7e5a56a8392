// SPDX-License-Identifier: GPL-2.0
/* The device looks up its own private memory. */
#include "reproducer.h"

static void look_up(size_t len, bool huge)
{
	int fd = device(PRIVATE), other = device(PRIVATE);
	char *mem = memory(len, huge);

	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(!mprotect(mem, len, PROT_READ));
	DM_CHECK(!device_read(fd, mem, len, SEED));
	DM_CHECK(!device_read(other, mem, len, SEED));
	DM_CHECK(!dm_bad(mem, len, SEED));
	munmap(mem, len);
	close(other);
	close(fd);
}

int main(void)
{
	look_up(16 * dm_page_size(), false);
	look_up(DM_HUGE, true);
	return 0;
}
