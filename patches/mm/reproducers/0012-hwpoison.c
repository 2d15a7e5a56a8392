// SPDX-License-Identifier: GPL-2.0
/* A memory error in coherent memory whose driver does not handle it. */
#include "reproducer.h"

int main(void)
{
	size_t len = 4 * dm_page_size();
	int fd = device(COHERENT);
	char *mem = memory(len, false);

	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(madvise(mem, dm_page_size(), MADV_HWPOISON) && errno == ENXIO);
	DM_CHECK(!dm_bad(mem, len, SEED));
	return 0;
}
