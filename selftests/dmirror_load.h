/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests that put the driver under load share: its files in debugfs and
 * its parameters, copies that fail, and a load: a process that does everything
 * with its memory that it can, and knows what each byte of it must be.
 */
#ifndef SELFTESTS_DMIRROR_LOAD_H
#define SELFTESTS_DMIRROR_LOAD_H

#include <signal.h>

#include "dmirror_test.h"

#define DM_DEBUGFS	"/sys/kernel/debug/dmirror"
#define DM_PARAMETERS	"/sys/module/dmirror/parameters"

/*
 * debugfs, parameters
 */

static inline const char *dm_debugfs_path(unsigned int device, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), DM_DEBUGFS "/dmirror%u/%s", device, name);
	return path;
}

/* One of the numbers in a device's file of counters, or -1 */
static inline long long dm_counter(unsigned int device, const char *name)
{
	FILE *f = fopen(dm_debugfs_path(device, "counters"), "r");
	long long value, found = -1;
	char word[64];

	if (!f)
		return -1;
	while (fscanf(f, "%63s %lld", word, &value) == 2)
		if (!strcmp(word, name))
			found = value;
	fclose(f);
	return found;
}

/* What all copy engines of a device have done */
struct dm_engines {
	unsigned int count;
	unsigned int idle;		/* of these, never did a job */
	unsigned long long jobs;
	unsigned long long errors;
	unsigned long long bytes;
	unsigned long long ns;
	unsigned int depth;
	unsigned int depth_max;		/* the most that one of them had */
};

static inline int dm_engines(unsigned int device, struct dm_engines *sum)
{
	FILE *f = fopen(dm_debugfs_path(device, "engines"), "r");
	unsigned long long jobs, errors, bytes, ns;
	unsigned int number, depth, depth_max;

	memset(sum, 0, sizeof(*sum));
	if (!f)
		return -errno;
	while (fscanf(f,
		      "copy%u jobs %llu errors %llu bytes %llu ns %llu depth %u depth_max %u\n",
		      &number, &jobs, &errors, &bytes, &ns, &depth,
		      &depth_max) == 7) {
		sum->count++;
		sum->idle += !jobs;
		sum->jobs += jobs;
		sum->errors += errors;
		sum->bytes += bytes;
		sum->ns += ns;
		sum->depth += depth;
		if (sum->depth_max < depth_max)
			sum->depth_max = depth_max;
	}
	fclose(f);
	return sum->count ? 0 : -EIO;
}

static inline int dm_set_parameter(const char *name, unsigned int value)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), DM_PARAMETERS "/%s", name);
	snprintf(text, sizeof(text), "%u", value);
	return dm_file_write(path, text);
}

/* Whether the driver was loaded with interconnect=1 */
static inline bool dm_linked(void)
{
	char value = 'N';
	int fd = open(DM_PARAM("interconnect"), O_RDONLY);

	if (fd >= 0 && read(fd, &value, 1) != 1)
		value = 'N';
	close(fd);
	return value == 'Y';
}

/* What became of the faults of a device's jobs */
struct dm_faults {
	unsigned long long reported;
	unsigned long long stalls;
	unsigned long waiting;
};

static inline int dm_faults(unsigned int device, struct dm_faults *faults)
{
	FILE *f = fopen(dm_debugfs_path(device, "engines"), "r");
	char line[256];
	int ret = -EIO;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "compute faults %llu stalls %llu waiting %lu",
			   &faults->reported, &faults->stalls,
			   &faults->waiting) == 3)
			ret = 0;
	fclose(f);
	return ret;
}

/* How many faults wait in the device's buffer, or -1 */
static inline long dm_faults_waiting(unsigned int device)
{
	struct dm_faults faults;

	return dm_faults(device, &faults) ? -1 : (long)faults.waiting;
}

/*
 * Unplugging a device and plugging it in: 0 or a negative errno
 */

static inline int dm_set_plugged(unsigned int device, const char *value)
{
	char path[128];
	int fd, ret = 0;

	snprintf(path, sizeof(path), DM_DEBUGFS "/dmirror%u/plugged", device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, 1) != 1)
		ret = -errno;
	close(fd);
	return ret;
}

/*
 * On 7.2 who unmaps a huge page that is on its way from private memory, as by
 * MADV_DONTNEED or by exiting while somebody else evicts it, drops a reference that
 * is not his: zap_huge_pmd() takes the migration entry for one of the device. Such
 * huge pages are kept.
 */
static inline bool dm_huge_pages_stay(const struct dm *dm)
{
	return !dm_kernel_before(6, 19) && !dm_avoids_nothing() && dm->backing.thp &&
	       dm->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
}

/* A device to be used with small pages, where huge ones are to be kept */
static inline struct dm dm_unmapping(const struct dm *dm)
{
	struct dm small = *dm;

	if (dm_huge_pages_stay(dm))
		small.backing.thp = false;
	return small;
}

static inline int dm_unplug(unsigned int device)
{
	return dm_set_plugged(device, "0");
}

static inline int dm_plug(unsigned int device)
{
	return dm_set_plugged(device, "1");
}

/* One or the other of these, for two devices, which may be one twice */
static inline int dm_both(const unsigned int *devices,
			  int (*plug)(unsigned int device))
{
	int ret = plug(devices[0]);

	if (!ret && devices[1] != devices[0])
		ret = plug(devices[1]);
	return ret;
}

/*
 * Copies that fail
 */

static inline int dm_attr_set(const char *attr, const char *name,
			      const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DM_DEBUGFS "/%s/%s", attr, name);
	return dm_file_write(path, value);
}

static inline int dm_fail_set(const char *name, const char *value)
{
	return dm_attr_set("fail_copy", name, value);
}

static inline void dm_fail_stop(void)
{
	dm_fail_set("probability", "0");
}

/* Every @nth copy job fails from now on. Says why not if it cannot be. */
static inline const char *dm_fail_start(unsigned int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", nth);
	if (dm_fail_set("probability", "0"))
		return "no debugfs file to make copies fail: CONFIG_FAULT_INJECTION_DEBUG_FS";
	if (dm_fail_set("verbose", "0") || dm_fail_set("interval", text) ||
	    dm_fail_set("times", "1000000") || dm_fail_set("probability", "100"))
		return "cannot make copies fail";
	return NULL;
}

/*
 * Signals that end no program, and no call but those that say so
 */

static inline void dm_signal_handler(int signal)
{
}

/* What such a signal ends is not restarted. */
static inline int dm_take_signal(int signal)
{
	struct sigaction action = { .sa_handler = dm_signal_handler };

	return sigaction(signal, &action, NULL);
}

/*
 * A load
 */

#define DM_LOAD_RUN	64	/* pages that a step is about, at most */

struct dm_load {
	struct dm dm;
	int fd;
	char *mem;
	size_t pages;
	__u64 *seeds;		/* of each page; 0 is a page of zeroes */
	char *buf;
	__u64 seed;		/* the last that was used */
	__u64 random;
	unsigned long steps;
};

static inline int dm_load_init(struct dm_load *load, const struct dm *dm,
			       size_t len, __u64 seed)
{
	memset(load, 0, sizeof(*load));
	load->dm = *dm;
	load->pages = len / dm->page;
	load->seed = seed;
	load->random = seed * 2654435761U + 1;
	load->fd = dm_open_number(dm->device);
	load->mem = dm_map(dm, len);
	load->seeds = calloc(load->pages, sizeof(*load->seeds));
	load->buf = malloc(DM_LOAD_RUN * dm->page);
	return load->mem && load->seeds && load->buf ? 0 : -ENOMEM;
}

static inline void dm_load_fini(struct dm_load *load)
{
	close(load->fd);
	munmap(load->mem, load->pages * load->dm.page);
	free(load->seeds);
	free(load->buf);
}

static inline unsigned int dm_load_random(struct dm_load *load,
					  unsigned int below)
{
	load->random = load->random * 6364136223846793005ULL + 1;
	return (load->random >> 33) % below;
}

static inline char *dm_load_page(const struct dm_load *load, size_t page)
{
	return load->mem + page * load->dm.page;
}

/* Whether @nr pages, copied to @at, are what they have to be */
static inline int dm_load_check(const struct dm_load *load, const char *at,
				size_t first, size_t nr, const char *who)
{
	size_t size = load->dm.page, i;

	for (i = 0; i < nr; i++, at += size) {
		__u64 seed = load->seeds[first + i];

		if (seed ? !dm_bad(at, size, seed) : dm_zero(at, size))
			continue;
		fprintf(stderr,
			"# %d: page %zu, read by the %s after %lu steps, is not of seed %llx\n",
			getpid(), first + i, who, load->steps, seed);
		return -EILSEQ;
	}
	return 0;
}

static inline void dm_load_cpu_write(struct dm_load *load, size_t first,
				     size_t nr)
{
	for (; nr; first++, nr--) {
		load->seeds[first] = ++load->seed;
		dm_fill(dm_load_page(load, first), load->dm.page, load->seed);
	}
}

/* What was not done, as the device was unplugged, has kept its contents. */
static inline int dm_load_device_write(struct dm_load *load, size_t first,
				       size_t nr)
{
	size_t size = load->dm.page, i;
	struct dmirror_rw rw = { 0 };
	int ret;

	for (i = 0; i < nr; i++)
		dm_fill(load->buf + i * size, size, load->seed + 1 + i);
	ret = dm_rw(load->fd, DMIRROR_IOC_WRITE, dm_load_page(load, first),
		    load->buf, nr * size, &rw);
	for (i = 0; i < rw.done / size; i++)
		load->seeds[first + i] = load->seed + 1 + i;
	load->seed += nr;
	return ret;
}

static inline int dm_load_device_read(struct dm_load *load, size_t first,
				      size_t nr)
{
	struct dmirror_rw rw = { 0 };
	int ret;

	memset(load->buf, 0x5a, nr * load->dm.page);
	ret = dm_rw(load->fd, DMIRROR_IOC_READ, dm_load_page(load, first),
		    load->buf, nr * load->dm.page, &rw);
	return dm_load_check(load, load->buf, first, rw.done / load->dm.page,
			     "device") ?: ret;
}

static inline int dm_load_device_copy(struct dm_load *load, size_t first,
				      size_t nr)
{
	size_t to = first < load->pages / 2 ? first + load->pages / 2 :
					      first - load->pages / 2;
	struct dmirror_copy c = {
		.size = sizeof(c),
		.src = (uintptr_t)dm_load_page(load, first),
		.dst = (uintptr_t)dm_load_page(load, to),
	};
	int ret;

	if (nr > load->pages / 2 - first % (load->pages / 2))
		nr = load->pages / 2 - first % (load->pages / 2);
	c.length = nr * load->dm.page;
	ret = dm_call(load->fd, DMIRROR_IOC_COPY, &c);
	memcpy(load->seeds + to, load->seeds + first,
	       c.done / load->dm.page * sizeof(*load->seeds));
	return ret;
}

/* There may be no room on the device, and then that is the answer. */
static inline int dm_load_migrate(struct dm_load *load, size_t first, size_t nr,
				  unsigned int target)
{
	size_t len = nr * load->dm.page;
	struct dmirror_migrate m;
	int ret;

	ret = dm_migrate_raw(load->fd, dm_load_page(load, first), len, target,
			     &m);
	if (ret == -ENODEV)
		return ret;
	if ((ret && ret != -ENOSPC) || dm_migrate_sum(&m) != len) {
		fprintf(stderr,
			"# %d: migration to %u: error %d, %llu of %zu counted\n",
			getpid(), target, ret, dm_migrate_sum(&m), len);
		return ret ?: -EILSEQ;
	}
	return 0;
}

/* Does something, and answers 0 or what was wrong with it */
static inline int dm_load_step(struct dm_load *load)
{
	size_t first = dm_load_random(load, load->pages);
	size_t nr = 1 + dm_load_random(load, DM_LOAD_RUN);
	size_t block = DM_HUGE / load->dm.page;

	load->steps++;
	if (nr > load->pages - first)
		nr = load->pages - first;
	switch (dm_load_random(load, 10)) {
	case 0:
	case 1:
	case 2:
		return dm_load_migrate(load, first, nr, DMIRROR_TARGET_DEVICE);
	case 3:
		/* As a whole, so that huge pages move as such. */
		return dm_load_migrate(load, first / block * block, block,
				       DMIRROR_TARGET_DEVICE);
	case 4:
		return dm_load_migrate(load, first, nr, DMIRROR_TARGET_SYSTEM);
	case 5:
		return dm_load_device_write(load, first, nr);
	case 6:
		return dm_load_device_read(load, first, nr);
	case 7:
		dm_load_cpu_write(load, first, nr);
		return 0;
	case 8:
		return dm_load_check(load, dm_load_page(load, first), first, nr,
				     "CPU");
	default:
		if (dm_load_random(load, 4))
			return dm_load_device_copy(load, first, nr);
		memset(load->seeds + first, 0, nr * sizeof(*load->seeds));
		return madvise(dm_load_page(load, first), nr * load->dm.page,
			       MADV_DONTNEED);
	}
}

/* All of it: by the device as far as that is there, then by the CPU */
static inline int dm_load_check_all(struct dm_load *load)
{
	size_t first, nr;
	int ret = 0;

	for (first = 0; first < load->pages && !ret; first += nr) {
		nr = load->pages - first;
		if (nr > DM_LOAD_RUN)
			nr = DM_LOAD_RUN;
		ret = dm_load_device_read(load, first, nr);
		if (ret == -ENODEV)
			ret = 0;
	}
	return ret ?: dm_load_check(load, load->mem, 0, load->pages, "CPU");
}

#endif
