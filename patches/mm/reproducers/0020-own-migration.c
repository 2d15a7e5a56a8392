// SPDX-License-Identifier: GPL-2.0
/* A second file of the device, when the first one migrates. */
#include "reproducer.h"

int main(void)
{
	size_t len = 16 * dm_page_size();
	int fd = device(PRIVATE), other = device(PRIVATE);
	char *mem = memory(len, false);

	DM_CHECK(!device_read(other, mem, len, SEED));
	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(!device_write(fd, mem, len, SEED + 1));
	DM_CHECK(!device_read(other, mem, len, SEED + 1));
	DM_CHECK(!dm_bad(mem, len, SEED + 1));
	DM_CHECK(!device_read(other, mem, len, SEED + 1));
	return 0;
}
