// SPDX-License-Identifier: GPL-2.0
/*
 * What module.sh needs a program for. All of them end with 0 if all is well.
 *
 *	dmirror_hold keep NODE FIFO [file]
 *		migrates memory to the device, closes the file unless told to
 *		keep it, prints "ready", waits for a line from FIFO and then
 *		verifies the memory
 *	dmirror_hold drop NODE FIFO
 *		the same, after the device has dropped some of the memory: that
 *		is zeroes then
 *	dmirror_hold full NODE
 *		fills the device up, looks at what the driver says, and that
 *		nothing is lost
 *	dmirror_hold size NODE
 *		prints the size of the device's memory in MiB
 *	dmirror_hold engines NODE NUMBER
 *		has memory copied there and back, and looks whether the device
 *		has that number of engines and each of them has had its share
 *	dmirror_hold window NODE
 *		prints how many KiB come back when a CPU touches one page of
 *		small ones
 *	dmirror_hold nodrop NODE
 *		looks at what a device without placeholders does
 *	dmirror_hold load MODULE PARAMETERS
 *		loads the module with one allocation failing, each of the last
 *		ones in turn, and looks that nothing is left if that fails; 5 if
 *		none can be made to fail
 */
#include <dirent.h>
#include <sys/syscall.h>

#include "dmirror_test.h"
#include "dmirror_advice.h"
#include "dmirror_inject.h"

#define SEED		0x401d
#define NEVER		1000000
#define FAILED_LOADS	16	/* by the last allocations: those of the nodes */
#define LOADS_STEP	6	/* what comes after can do without */

static int fail(const char *what, int ret)
{
	printf("# dmirror_hold: %s: %d (%s)\n", what, ret,
	       strerror(ret < 0 ? -ret : 0));
	return 1;
}

/* Have the device drop the memory, by its debugfs file */
static int drop(int fd, char *mem, size_t len)
{
	struct dmirror_query q;

	return dm_query(fd, &q) ?: dm_dontneed(fd, mem, len) ?:
	       dm_evict(q.device, len) ?:
	       (dm_all(fd, mem, len, DMIRROR_PLACE_DROPPED) ? 0 : -EIO);
}

static int hold(const char *node, const char *fifo, bool keep_file,
		bool dropped)
{
	size_t page = dm_page_size(), len = 64 * page, huge = DM_HUGE;
	int fd = open(node, O_RDWR), ret;
	char *small, *large, line[16];
	size_t bad;

	if (fd < 0)
		return fail(node, -errno);
	small = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS);
	large = dm_map_flags(huge, MADV_HUGEPAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS);
	if (!small || !large)
		return fail("mmap", -errno);
	dm_fill(small, len, SEED);
	dm_fill(large, huge, SEED + 1);
	ret = dm_to_device(fd, small, len) ?: dm_to_device(fd, large, huge);
	if (ret)
		return fail("migrate", ret);
	if (!dm_all(fd, small, len, DMIRROR_PLACE_LOCAL) ||
	    !dm_all(fd, large, huge, DMIRROR_PLACE_LOCAL))
		return fail("not on the device", 0);
	if (dropped) {
		ret = drop(fd, small, len);
		if (ret)
			return fail("drop", ret);
	}
	if (!keep_file)
		close(fd);
	puts("ready");
	fflush(stdout);

	fd = open(fifo, O_RDONLY);
	if (fd < 0 || read(fd, line, sizeof(line)) < 0)
		return fail(fifo, -errno);
	bad = dm_bad(large, huge, SEED + 1);
	bad += dropped ? !dm_zero(small, len) : dm_bad(small, len, SEED);
	if (bad)
		return fail("pages with wrong contents", bad);
	return 0;
}

static int fill_up(const char *node)
{
	size_t page = dm_page_size(), len, stayed;
	int fd = open(node, O_RDWR), ret;
	struct dmirror_migrate m;
	struct dmirror_query q;
	char *mem;

	if (fd < 0)
		return fail(node, -errno);
	ret = dm_query(fd, &q);
	if (ret)
		return fail("query", ret);
	len = q.memory_size + DM_HUGE;
	mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	if (!mem)
		return fail("mmap", -errno);
	dm_fill(mem, len, SEED);

	/* More than there is room for: what does not fit stays, and is counted. */
	ret = dm_migrate_raw(fd, mem, len, DMIRROR_TARGET_DEVICE, &m);
	if (ret != -ENOSPC)
		return fail("full device, wanted ENOSPC", ret);
	if (dm_migrate_sum(&m) != len || !m.no_memory ||
	    m.moved > q.memory_size)
		return fail("full device, wrong counts", 0);
	stayed = dm_count(fd, mem, len, DMIRROR_PLACE_SYSTEM) * page;
	if (stayed != len - m.moved)
		return fail("full device, pages in system memory", stayed);
	if (dm_query(fd, &q) || q.memory_used > q.memory_size)
		return fail("full device, more used than there is", 0);

	/* The device reads and writes all of it, wherever it is. */
	ret = dm_write64(fd, mem + len - 8, dm_peek(mem + len - 8)) ?:
	      dm_copy(fd, mem, mem + len / 2, page);
	if (ret)
		return fail("device access with a full device", ret);
	dm_fill_from(mem, page, SEED, 0);
	if (dm_bad(mem, len, SEED))
		return fail("wrong contents after a full device", 0);

	/* Holes do not fit either, and then stay holes. */
	ret = dm_to_system(fd, mem, len);
	if (ret)
		return fail("back from a full device", ret);
	madvise(mem, len, MADV_DONTNEED);
	ret = dm_migrate_raw(fd, mem, len, DMIRROR_TARGET_DEVICE, &m);
	if (ret != -ENOSPC || dm_migrate_sum(&m) != len)
		return fail("full device with holes, wanted ENOSPC", ret);
	if (!dm_zero(mem, len))
		return fail("holes are not zeros", 0);

	/* Memory that is given back can be had again. */
	munmap(mem, len);
	if (dm_query(fd, &q) || q.memory_used)
		return fail("not everything was given back", 0);
	mem = dm_map_flags(DM_HUGE / 2, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	if (!mem)
		return fail("mmap", -errno);
	dm_fill(mem, DM_HUGE / 2, SEED);
	ret = dm_to_device(fd, mem, DM_HUGE / 2);
	if (ret)
		return fail("not usable after having been full", ret);
	return dm_bad(mem, DM_HUGE / 2, SEED) != 0;
}

static int print_size(const char *node)
{
	int fd = open(node, O_RDWR), ret;
	struct dmirror_query q;

	if (fd < 0)
		return fail(node, -errno);
	ret = dm_query(fd, &q);
	if (ret)
		return fail("query", ret);
	printf("%llu\n", q.memory_size >> 20);
	return 0;
}

static int use_engines(const char *node, unsigned int number)
{
	size_t len = 4 * DM_HUGE;
	int fd = open(node, O_RDWR), ret;
	struct dm_engines engines;
	struct dmirror_query q;
	unsigned int shares;
	char *mem;

	if (fd < 0)
		return fail(node, -errno);
	mem = dm_map_flags(len, MADV_HUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	if (!mem)
		return fail("mmap", -errno);
	dm_fill(mem, len, SEED);
	ret = dm_query(fd, &q) ?: dm_to_device(fd, mem, len) ?:
	      dm_to_system(fd, mem, len) ?: dm_engines(q.device, &engines);
	if (ret)
		return fail("there and back", ret);
	if (dm_bad(mem, len, SEED))
		return fail("wrong contents", 0);
	if (engines.count != number)
		return fail("number of engines", engines.count);
	if (engines.idle)
		return fail("engines that did nothing", engines.idle);
	if (engines.bytes != 2 * len || engines.errors || engines.depth)
		return fail("wrong counts", 0);
	/* Each time, each of them has its share of a large folio; small pages have theirs. */
	shares = q.capabilities & DMIRROR_CAP_LARGE_FOLIO ? number :
							    DM_HUGE / DM_COPY_SHARE;
	if (engines.jobs != 2 * len / DM_HUGE * shares)
		return fail("number of jobs", engines.jobs);
	return 0;
}

/* The node, open as *fd, and memory in small pages; NULL, having said why, if not */
static char *open_and_map(const char *node, size_t len, int *fd)
{
	char *mem = NULL;

	*fd = open(node, O_RDWR);
	if (*fd >= 0)
		mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS);
	if (!mem)
		fail(*fd < 0 ? node : "mmap", -errno);
	return mem;
}

/*
 * From one huge page to another, where both are to come to the device by turns; and
 * from the next one, when the job has come so far
 */
static int copy_between(const char *node)
{
	const size_t len = 2 * DM_HUGE;
	int fd, ret;
	char *mem = open_and_map(node, 2 * len, &fd);

	if (!mem)
		return 1;
	dm_fill(mem, len, SEED);
	ret = dm_copy(fd, mem + len, mem, len);
	if (ret)
		return fail("copy", ret);
	if (dm_bad(mem, len, SEED) || dm_bad(mem + len, len, SEED))
		return fail("wrong contents", 0);
	return 0;
}

static int print_window(const char *node)
{
	int fd, ret;
	char *mem = open_and_map(node, 3 * DM_HUGE, &fd);

	if (!mem)
		return 1;
	dm_fill(mem, 3 * DM_HUGE, SEED);
	ret = dm_to_device(fd, mem, 3 * DM_HUGE);
	if (ret)
		return fail("to device", ret);
	dm_peek(mem + DM_HUGE + DM_HUGE / 2);
	printf("%ld\n", dm_count(fd, mem, 3 * DM_HUGE, DMIRROR_PLACE_SYSTEM) *
	       (long)dm_page_size() / 1024);
	return dm_bad(mem, 3 * DM_HUGE, SEED) != 0;
}

/*
 * Nothing can be dropped, and the rest is as ever, a memory error too. But of coherent
 * memory the CPU goes on to use the page: there is nothing to map instead.
 */
static int without_placeholders(const char *node)
{
	size_t page = dm_page_size(), len = 16 * page;
	struct dmirror_advise a;
	struct dmirror_query q;
	int fd, ret;
	char *mem = open_and_map(node, len, &fd);

	if (!mem)
		return 1;
	dm_fill(mem, len, SEED);
	ret = dm_query(fd, &q) ?: dm_to_device(fd, mem, len);
	if (ret)
		return fail("to device", ret);
	if (q.capabilities & DMIRROR_CAP_PURGE)
		return fail("says that it can drop memory", 0);
	ret = dm_advise(fd, mem, len, DMIRROR_ADVICE_DONTNEED, &a);
	if (ret != -EOPNOTSUPP)
		return fail("not needed, wanted EOPNOTSUPP", ret);
	ret = dm_advise(fd, mem, len, DMIRROR_ADVICE_WILLNEED, &a);
	if (ret || a.applied != len || !a.retained)
		return fail("needed", ret);
	ret = dm_trap_init() ?:
	      dm_file_write(dm_debugfs_path(q.device, "poison"), "0");
	if (q.memory_type == DMIRROR_MEMORY_COHERENT) {
		if (!ret || errno != EBUSY)
			return fail("poison, wanted EBUSY", ret);
		return dm_bad(mem, len, SEED) != 0;
	}
	if (ret)
		return fail("poison", ret);
	if (dm_count_code(mem, len, BUS_MCEERR_AR) != 1)
		return fail("pages with an error, wanted 1", 0);
	/* The first page of an empty device was that of the memory. */
	return dm_bad_from(mem + page, len - page, SEED, 1) != 0;
}

static bool has_node(void)
{
	struct dirent *entry;
	bool found = false;
	DIR *dir = opendir("/dev");

	while (dir && !found && (entry = readdir(dir)))
		found = strstr(entry->d_name, "dmirror");
	if (dir)
		closedir(dir);
	return found;
}

/* Zero: it could be loaded, or not for want of memory, and then has left nothing */
static int load_and_unload(int module, const char *parameters, bool *loaded)
{
	int ret = syscall(SYS_finit_module, module, parameters, 0) ? -errno : 0;

	dm_nth_stop();
	*loaded = !ret;
	if (!ret)
		return syscall(SYS_delete_module, "dmirror", 0) ? -errno : 0;
	if (ret != -ENOMEM)
		return ret;
	return has_node() ? -EEXIST : 0;
}

static int load_with_failures(const char *path, const char *parameters)
{
	int module = open(path, O_RDONLY | O_CLOEXEC), ret;
	unsigned int last, failed = 0;
	const char *why = dm_nth_setup();
	bool loaded;

	if (module < 0)
		return fail(path, -errno);
	if (why)
		return 5;
	/* How many there are is what the counter has gone down by. */
	dm_nth_start(NEVER);
	ret = syscall(SYS_finit_module, module, parameters, 0) ? -errno : 0;
	last = NEVER - dm_nth_left();
	dm_nth_stop();
	if (ret || syscall(SYS_delete_module, "dmirror", 0))
		return fail(path, ret ?: -errno);
	for (; failed < FAILED_LOADS && last > LOADS_STEP;
	     last -= failed ? 1 : LOADS_STEP) {
		dm_nth_start(last);
		ret = load_and_unload(module, parameters, &loaded);
		if (ret)
			return fail("with an allocation that fails", ret);
		failed += !loaded;
	}
	return failed == FAILED_LOADS ? 0 : fail("loads that failed", failed);
}

int main(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "keep"))
		return hold(argv[2], argv[3], argc > 4, false);
	if (argc == 4 && !strcmp(argv[1], "drop"))
		return hold(argv[2], argv[3], false, true);
	if (argc == 3 && !strcmp(argv[1], "full"))
		return fill_up(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "size"))
		return print_size(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "engines"))
		return use_engines(argv[2], atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "window"))
		return print_window(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "copy"))
		return copy_between(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "nodrop"))
		return without_placeholders(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "load"))
		return load_with_failures(argv[2], argv[3]);
	fprintf(stderr,
		"usage: dmirror_hold keep NODE FIFO [file] | drop NODE FIFO | full NODE | size NODE | engines NODE NUMBER | window NODE | copy NODE | nodrop NODE | load MODULE PARAMETERS\n");
	return 2;
}
