// SPDX-License-Identifier: GPL-2.0
/* Soft-dirty of memory that is on the device when it is cleared. */
#include "reproducer.h"

#define SOFT_DIRTY	0x0080000000000000ULL

static bool soft_dirty(char *mem)
{
	__u64 entry;

	DM_CHECK(!dm_pagemap(mem, dm_page_size(), &entry));
	return entry & SOFT_DIRTY;
}

static void clear_and_write(int fd, size_t len, bool huge)
{
	char *mem = memory(len, huge);
	char *page = mem + len / 2;

	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(!dm_file_write("/proc/self/clear_refs", "4"));
	DM_CHECK(!soft_dirty(page));
	dm_poke(page, dm_peek(page));
	DM_CHECK(soft_dirty(page));
	DM_CHECK(!dm_bad(mem, len, SEED));

	/* And of what the device writes */
	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(!dm_file_write("/proc/self/clear_refs", "4"));
	DM_CHECK(!device_write(fd, mem, len, SEED + 1));
	DM_CHECK(soft_dirty(page));
	DM_CHECK(!dm_bad(mem, len, SEED + 1));
	munmap(mem, len);
}

int main(void)
{
	int fd = device(PRIVATE);

	clear_and_write(fd, 16 * dm_page_size(), false);
	clear_and_write(fd, DM_HUGE, true);
	return 0;
}
