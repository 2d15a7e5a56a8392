// SPDX-License-Identifier: GPL-2.0
/* More than a coherent device has, in single pages. */
#include "reproducer.h"

#define DEVICE_SIZE	(256UL << 20)

int main(void)
{
	size_t len = DEVICE_SIZE + 64 * dm_page_size();
	char *mem = memory(len, false), *buf = malloc(len);
	int fd = device(COHERENT);

	DM_CHECK(hmm_call(fd, HMM_TO_DEV, mem, buf, npages(len), NULL) == -ENOENT);
	DM_CHECK(!dm_bad(mem, len, SEED));
	return 0;
}
