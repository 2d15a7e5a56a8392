/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What page tables hold, of all mappings of a process: as pagemap says it, and as the
 * module beside the driver does, which can also tell what a migration entry is of.
 */
#ifndef SELFTESTS_DMIRROR_ENTRIES_H
#define SELFTESTS_DMIRROR_ENTRIES_H

#include "dmirror_load.h"

#define ENTRIES		"/sys/kernel/debug/dmirror_entries"
#define ENTRIES_MODULE	"/lib/modules/dmirror_entries.ko"
#define ENTRIES_TRIES	200

struct entries {
	unsigned long present;
	unsigned long swap;
	unsigned long migration;
	unsigned long unlocked;
	unsigned long device;
	unsigned long other;
};

/* Whether there is such a file, with the module loaded if need be */
static inline bool entries_begin(void)
{
	int fd = open(ENTRIES_MODULE, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		syscall(SYS_finit_module, fd, "", 0);
		close(fd);
	}
	return !access(ENTRIES, R_OK);
}

static inline void entries_end(void)
{
	syscall(SYS_delete_module, "dmirror_entries", O_NONBLOCK);
}

static inline int entries_of(pid_t pid, struct entries *e)
{
	int fd = open(ENTRIES, O_RDWR | O_CLOEXEC), ret = 0;
	char text[256] = "";

	memset(e, 0, sizeof(*e));
	if (fd < 0)
		return -errno;
	snprintf(text, sizeof(text), "%d", pid);
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	else if (pread(fd, text, sizeof(text) - 1, 0) < 0 ||
		 sscanf(text,
			"present %lu swap %lu migration %lu unlocked %lu device %lu other %lu",
			&e->present, &e->swap, &e->migration, &e->unlocked,
			&e->device, &e->other) != 6)
		ret = -EIO;
	close(fd);
	return ret;
}

/*
 * Entries of a process that are neither empty nor present, in all its mappings: with
 * no swap in use, and no device, there are none. Looks without touching.
 */
static inline long entries_special_in(int pagemap, unsigned long start,
				      unsigned long end)
{
	size_t page = dm_page_size(), n, i;
	static __u64 entries[4096];
	long special = 0;
	ssize_t got;

	for (; start < end; start += n * page) {
		n = (end - start) / page;
		if (n > ARRAY_SIZE(entries))
			n = ARRAY_SIZE(entries);
		got = pread(pagemap, entries, n * sizeof(*entries),
			    start / page * sizeof(*entries));
		for (i = 0; got > 0 && i < got / sizeof(*entries); i++)
			special += !!(entries[i] & DM_PAGEMAP_SWAP);
	}
	return special;
}

static inline long entries_special(pid_t pid)
{
	unsigned long start, end;
	long special = 0;
	char path[64], line[512];
	int pagemap;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "r");
	if (pagemap < 0 || !maps)
		special = -ESRCH;
	while (special >= 0 && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			special += entries_special_in(pagemap, start, end);
	if (maps)
		fclose(maps);
	close(pagemap);
	return special;
}

/* The kernel's own daemons may be moving a page just now: they get done. */
static inline long entries_settled(pid_t pid, bool module)
{
	struct entries e = { 0 };
	unsigned int tries;
	long left = 1;

	for (tries = 0; left && tries < ENTRIES_TRIES; tries++) {
		if (tries)
			dm_msleep(10);
		left = entries_special(pid);
		if (!left && module)
			left = entries_of(pid, &e) ?:
			       (long)(e.migration + e.device + e.other + e.swap);
	}
	if (left)
		fprintf(stderr,
			"# process %d has %ld special entries (%lu migration, %lu device, %lu other)\n",
			pid, left, e.migration, e.device, e.other);
	return left;
}

/*
 * How many entries are left in this process of devices that go away, or of anything
 * that was on its way. The devices come back, but files of them are of no more use.
 */
static inline long entries_left_behind(const unsigned int *devices)
{
	bool module = entries_begin();
	long left = dm_both(devices, dm_unplug);
	int ret;

	if (!left)
		left = entries_settled(getpid(), module);
	ret = dm_both(devices, dm_plug);
	entries_end();
	return left ?: ret;
}

#endif
