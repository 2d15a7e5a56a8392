// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that is unlocked on the device is not counted as locked for ever: when it is
 * unmapped there, and when it has come back before.
 */
#include "reproducer.h"

#define LEN	(256 * 4096UL)

/* On a device of its own: what is left of one time hides what the next one leaves. */
static long locked_after(int number, bool back)
{
	int fd = device(number);
	long before = dm_meminfo("Mlocked"), after;
	char *mem = memory(LEN, false);

	DM_CHECK(!mlock(mem, LEN));
	DM_CHECK(!to_device(fd, mem, LEN));
	DM_CHECK(!munlock(mem, LEN));
	if (back)
		DM_CHECK(!dm_bad(mem, LEN, SEED));
	DM_CHECK(!munmap(mem, LEN));
	dm_settle();
	after = dm_meminfo("Mlocked");
	fprintf(stderr, "# Mlocked%s: %ld kB, then %ld kB\n",
		back ? " of what came back" : "", before, after);
	return after - before;
}

int main(void)
{
	long left = locked_after(PRIVATE, false);

	return locked_after(PRIVATE + 1, true) || left;
}
