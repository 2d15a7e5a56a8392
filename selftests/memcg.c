// SPDX-License-Identifier: GPL-2.0
/*
 * Memory on a device stays charged to the cgroup of the program that it is of,
 * until the program gives it up; limits are met without loss; and a cgroup can go
 * while its memory is there.
 */
#include "dmirror_state.h"

#define CGROUPS		"/sys/fs/cgroup"
#define SLACK		0x100000L	/* what CPUs set aside, and other memory of the program */

static const char *cgroup_file(const char *cgroup, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), CGROUPS "/%s/%s", cgroup, file);
	return path;
}

static long long cgroup_value(const char *cgroup, const char *file)
{
	return dm_file_number(cgroup_file(cgroup, file));
}

/* A cgroup made: NULL, or why it cannot be */
static const char *cgroup_make(const char *cgroup)
{
	dm_file_write(CGROUPS "/cgroup.subtree_control", "+memory");
	if (mkdir(cgroup_file(cgroup, ""), 0755) && errno != EEXIST)
		return "cannot make a cgroup: CONFIG_MEMCG, a cgroup2 file system";
	if (access(cgroup_file(cgroup, "memory.current"), R_OK))
		return "the cgroup has no memory controller: CONFIG_MEMCG";
	return NULL;
}

static void cgroup_enter(const char *cgroup)
{
	DM_CHECK(!dm_file_write(cgroup_file(cgroup, "cgroup.procs"), "0"));
}

/* Cgroups that were removed and still have memory */
static long dying(void)
{
	char line[128];
	long value = -1;
	FILE *f = fopen(CGROUPS "/cgroup.stat", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "nr_dying_descendants %ld", &value);
	if (f)
		fclose(f);
	return value;
}

#define OTHERS	8

static const char *another(unsigned int number)
{
	static char name[32];

	snprintf(name, sizeof(name), "dmirror-other%u", number);
	return name;
}

static void go_to_cpu(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Charges a cgroup on each CPU. */
static void charge_everywhere(const char *cgroup)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), cpu;

	cgroup_enter(cgroup);
	for (cpu = 0; cpu < cpus; cpu++) {
		go_to_cpu(cpu);
		DM_CHECK(mmap(NULL, dm_page_size(), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
			      0) != MAP_FAILED);
	}
	_exit(0);
}

/*
 * A CPU keeps the cgroup that it charged last, the last seven on 7.2, also with nothing
 * set aside for it: has each of them charge that many others.
 */
static void charge_others(void)
{
	unsigned int i;
	pid_t pid;

	for (i = 0; i < OTHERS; i++) {
		pid = fork();
		if (!pid)
			charge_everywhere(another(i));
		dm_wait(pid);
	}
}

/* Waits, for a time at most, until no more than so many are dying: what is left */
static long dying_settled(long most)
{
	unsigned int i;

	for (i = 0; i < OTHERS; i++)
		cgroup_make(another(i));
	for (i = 0; i < 100 && dying() > most; i++) {
		dm_settle();
		charge_others();
		dm_msleep(100);
	}
	return dying();
}

/* What the kernel itself has for the program, in bytes */
static long long kernel_has(const char *cgroup)
{
	return dm_file_value(cgroup_file(cgroup, "memory.stat"), "kernel");
}

/* What is charged, in bytes, but for that */
static long long charged(const char *cgroup)
{
	dm_settle();
	return cgroup_value(cgroup, "memory.current") - kernel_has(cgroup);
}

/*
 * As low as it can be: CPUs are told to give back what they have set aside. They do so
 * when they come to it. Unlike memory.max, this ends no program, nor looks for one.
 */
static void lower_limit(const char *cgroup)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", kernel_has(cgroup));
	dm_file_write(cgroup_file(cgroup, "memory.high"), text);
}

/* What a CPU of 5.10 may have counted without having said so, in pages */
#define COUNTED_APART	32

/* Before 5.18 nothing says how much the kernel itself has: what is mapped has to do. */
static long long left_mapped(const char *cgroup)
{
	long long bytes = dm_file_value(cgroup_file(cgroup, "memory.stat"), "anon");
	long apart = COUNTED_APART * sysconf(_SC_NPROCESSORS_ONLN);

	return bytes > apart * (long)dm_page_size() ? bytes : 0;
}

/*
 * What is left in a cgroup, which has no process any more: all but what the kernel itself
 * has.
 */
static long long left_in(const char *cgroup)
{
	if (kernel_has(cgroup) < 0) {
		dm_settle();
		return left_mapped(cgroup);
	}
	lower_limit(cgroup);
	return charged(cgroup);
}

/*
 * It is removed: 0 if nothing was left in it by then, to the byte. What the kernel
 * counts, it adds up now and then.
 */
static int cgroup_remove(const char *cgroup)
{
	long long left = 0;
	unsigned int i;

	for (i = 0; i < 300; i++) {
		left = left_in(cgroup);
		if (!left)
			return rmdir(cgroup_file(cgroup, "")) ? -errno : 0;
		dm_msleep(100);
	}
	fprintf(stderr, "# %lld bytes are still charged to %s\n", left, cgroup);
	return -EBUSY;
}

/* A child does what it enters the cgroup for: 0 if that went well, and nothing is left */
static int in_cgroup(const char *cgroup, const struct dm *dm,
		     void (*work)(const struct dm *dm))
{
	pid_t pid = fork();

	if (!pid)
		work(dm);
	return dm_wait(pid) ?: cgroup_remove(cgroup);
}

static bool charged_is(const char *cgroup, long long bytes)
{
	long long now = charged(cgroup);

	if (now >= bytes && now < bytes + SLACK)
		return true;
	fprintf(stderr, "# %lld bytes are charged, not %lld and a little\n", now,
		bytes);
	return false;
}

static void stays_charged(const struct dm *dm)
{
	int fd = dm_open_number(dm->device);
	const size_t len = DM_HUGE;
	unsigned int way;
	char *mem;

	cgroup_enter("dmirror");
	mem = dm_alloc(dm, len, SEED);
	DM_CHECK(fd >= 0 && mem);
	for (way = 0; way < DM_WAYS; way++) {
		DM_CHECK(charged_is("dmirror", len));
		DM_CHECK(!dm_to_device(fd, mem, len));
		DM_CHECK(charged_is("dmirror", len));
		DM_CHECK(!dm_back(fd, mem, len, way));
	}
	DM_CHECK(!dm_to_device(fd, mem, len / 2));
	DM_CHECK(!munmap(mem, len / 4));
	DM_CHECK(charged_is("dmirror", len * 3 / 4));
	_exit(!!dm_bad_from(mem + len / 4, len * 3 / 4, SEED,
			    len / 4 / dm->page));
}

/* As much is charged there as here, and nothing when the program is gone. */
TEST_F_TIMEOUT(state, stays_charged, 120)
{
	const char *why = cgroup_make("dmirror");

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, in_cgroup("dmirror", &self->dm, stays_charged));
}

/*
 * With little more room than what it has, a program moves its memory there and
 * back: a page that moves is charged once. Untouched memory that becomes device
 * memory is charged, goes over the limit, and the kernel ends the program for it.
 */
static void meets_limit(const struct dm *dm, __u64 *survived)
{
	int fd = dm_open_number(dm->device);
	const size_t len = DM_HUGE, hole = 256 * dm->page;
	struct dmirror_migrate m;
	char *mem, text[32];
	unsigned int way;

	cgroup_enter("dmirror");
	mem = dm_alloc(dm, len, SEED);
	DM_CHECK(fd >= 0 && mem);
	dm_settle();
	snprintf(text, sizeof(text), "%lld",
		 cgroup_value("dmirror", "memory.current") + (128LL << 10));
	DM_CHECK(!dm_file_write(cgroup_file("dmirror", "memory.max"), text));
	for (way = 0; way < DM_WAYS; way++) {
		DM_CHECK(!dm_migrate(fd, mem, len, DMIRROR_TARGET_DEVICE, &m));
		DM_CHECK(dm_migrate_sum(&m) == len);
		DM_CHECK(!dm_back(fd, mem, len, way));
	}
	DM_CHECK(!dm_bad(mem, len, SEED));
	DM_CHECK(!dm_to_device(fd, mem, len));
	dm_poke(survived, 1);

	mem = dm_map_flags(hole, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	DM_CHECK(mem);
	dm_migrate(fd, mem, hole, DMIRROR_TARGET_DEVICE, &m);
	_exit(3);
}

TEST_F_TIMEOUT(state, meets_limit, 120)
{
	const char *why = cgroup_make("dmirror");
	__u64 used = dm_memory_used(self->fd);
	__u64 *survived = dm_shared();
	pid_t pid;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_NE(NULL, survived);
	/* It is this process that is charged for it. */
	dm_poke(survived, 0);
	pid = fork();
	if (!pid)
		meets_limit(&self->dm, survived);
	EXPECT_EQ(-SIGKILL, dm_wait(pid));
	/* The limit was met by the hole, and not by what moved. */
	EXPECT_EQ(1, dm_peek(survived));
	EXPECT_EQ(used, dm_memory_used(self->fd));
	EXPECT_EQ(0, cgroup_remove("dmirror"));
}

#define REFUSED_PAGES	24

/* Open before there is no room for what opening a file takes */
struct limit {
	int max;
	int current;
};

/*
 * From now on so many pages can be charged, and what the kernel gives back: a limit
 * that is exceeded has CPUs give up what they have set aside, and then there is nobody
 * to kill.
 */
static void leave_room(const struct limit *limit, unsigned int pages)
{
	long long bytes = pages * (long long)dm_page_size();
	char text[32] = "";

	DM_CHECK(write(limit->max, "0", 1) == 1);
	DM_CHECK(pread(limit->current, text, sizeof(text) - 1, 0) > 0);
	snprintf(text, sizeof(text), "%lld", atoll(text) + bytes);
	DM_CHECK(write(limit->max, text, strlen(text)) > 0);
}

/* A round: untouched memory migrates while there is room for so many pages. */
static void refuse(const struct dm *dm, int fd, const struct limit *limit,
		   unsigned int room)
{
	const size_t len = DM_HUGE, want = REFUSED_PAGES * dm->page;
	char *mem = dm_alloc(dm, len, SEED), *hole;
	struct dmirror_migrate m;
	bool bad = false;
	__u64 used;
	int ret;

	hole = dm_map_flags(want, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS);
	DM_CHECK(mem && hole && !dm_to_device(fd, mem, len));
	used = dm_memory_used(fd);

	leave_room(limit, room);
	ret = dm_migrate_raw(fd, hole, want, DMIRROR_TARGET_DEVICE, &m);
	if (!room)
		bad = dm_bad(mem, len, SEED);
	DM_CHECK(write(limit->max, "max", 3) == 3);
	fprintf(stderr, "# of %u pages, with room for %u: %lld moved, %lld busy, %d\n",
		REFUSED_PAGES, room, m.moved / dm->page, m.busy / dm->page, ret);

	DM_CHECK(!bad);
	DM_CHECK(ret == -ENOMEM || (!ret && dm_migrate_sum(&m) == want));
	DM_CHECK(m.moved < want && (!room || m.moved));
	DM_CHECK(dm_memory_used(fd) <= used + m.moved);
	DM_CHECK(dm_zero(hole, want));
	DM_CHECK(!dm_to_device(fd, hole, want));
	DM_CHECK(dm_zero(hole, want) && !dm_bad(mem, len, SEED));
	munmap(hole, want);
	munmap(mem, len);
}

/*
 * Nobody is to be killed for it, so untouched memory for which there is no room is
 * refused: some of it, or the call. What has been there comes back all the same, and
 * with the limit gone all is as if it had not been.
 */
static void is_refused(const struct dm *dm)
{
	int fd = dm_open_number(dm->device);
	struct limit limit;
	char text[32];

	DM_CHECK(!dm_file_write("/proc/self/oom_score_adj", "-1000"));
	/* What another one sets aside is given back some time later. */
	go_to_cpu(0);
	cgroup_enter("dmirror");
	/* Nor for a copy of what fork has made shared. */
	DM_CHECK(!mlockall(MCL_CURRENT));
	limit.max = open(cgroup_file("dmirror", "memory.max"), O_WRONLY);
	limit.current = open(cgroup_file("dmirror", "memory.current"), O_RDONLY);
	DM_CHECK(fd >= 0 && limit.max >= 0);
	DM_CHECK(read(limit.current, text, sizeof(text)) > 0);
	refuse(dm, fd, &limit, 0);
	refuse(dm, fd, &limit, REFUSED_PAGES / 2);
	_exit(0);
}

TEST_F_TIMEOUT(state, refused_at_limit, 120)
{
	const char *why = cgroup_make("dmirror");
	__u64 used = dm_memory_used(self->fd);

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, in_cgroup("dmirror", &self->dm, is_refused));
	EXPECT_EQ(used, dm_memory_used(self->fd));
}

/* The program moves on, its memory stays where it was charged, which is removed. */
TEST_F_TIMEOUT(state, cgroup_removed, 120)
{
	const char *why = cgroup_make("dmirror") ?: cgroup_make("dmirror2");
	pid_t pid;

	if (why)
		SKIP(return, "%s", why);
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(self->dm.device);
		char *mem;

		cgroup_enter("dmirror");
		mem = dm_alloc(&self->dm, self->len, SEED);
		DM_CHECK(fd >= 0 && mem);
		DM_CHECK(!dm_to_device(fd, mem, self->len));
		cgroup_enter("dmirror2");
		DM_CHECK(!rmdir(cgroup_file("dmirror", "")));
		/* Newer kernels give what is charged to the parent at once. */
		DM_CHECK(!dm_kernel_before(6, 19) || dying() > 0);
		DM_CHECK(!dm_read(fd, mem, self->buf, self->len));
		DM_CHECK(!dm_bad(self->buf, self->len, SEED));
		DM_CHECK(!dm_to_system(fd, mem, self->len));
		DM_CHECK(!dm_to_device(fd, mem, self->len));
		DM_CHECK(!dm_bad(mem, self->len, SEED));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, cgroup_remove("dmirror2"));
}

#define TABLES	512		/* of a page each, for a block of memory each */

/* A page in each block, so that the device needs a table for each */
static void uses_tables(const struct dm *dm)
{
	const size_t len = (TABLES + 1UL) * DM_HUGE;
	int fd = dm_open_number(dm->device);
	long long before, after;
	char *mem, *at;
	__u64 value;

	cgroup_enter("dmirror");
	mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	DM_CHECK(fd >= 0 && mem);
	for (at = mem; at < mem + len; at += DM_HUGE)
		dm_poke(at, 1);
	dm_settle();
	before = cgroup_value("dmirror", "memory.current");
	for (at = mem; at < mem + len; at += DM_HUGE)
		DM_CHECK(!dm_read64(fd, at, &value));
	dm_settle();
	after = cgroup_value("dmirror", "memory.current");
	if (after - before < TABLES * (long)dm->page - SLACK / 2)
		fprintf(stderr, "# charged before %lld, after %lld\n", before, after);
	_exit(after - before < TABLES * (long)dm->page - SLACK / 2);
}

/* What the driver needs for a program is charged to it as well. */
TEST_F_TIMEOUT(state, tables_are_charged, 120)
{
	const char *why = cgroup_make("dmirror");

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, in_cgroup("dmirror", &self->dm, uses_tables));
}

#define FILE_ROUNDS	4

/* With the file go the tables of what it had mapped. */
static void closes_files(const struct dm *dm)
{
	const size_t len = TABLES * DM_HUGE;
	long long before = 0, after;
	char *mem, *at;
	__u64 value;
	unsigned int round;
	int fd;

	cgroup_enter("dmirror");
	mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	DM_CHECK(mem);
	for (at = mem; at < mem + len; at += DM_HUGE)
		dm_poke(at, 1);
	for (round = 0; round <= FILE_ROUNDS; round++) {
		fd = dm_open_number(dm->device);
		DM_CHECK(fd >= 0);
		for (at = mem; at < mem + len; at += DM_HUGE)
			DM_CHECK(!dm_read64(fd, at, &value));
		close(fd);
		dm_settle();
		after = cgroup_value("dmirror", "memory.current");
		if (!round)
			before = after;
	}
	DM_CHECK(after < before + 2 * SLACK);
	_exit(0);
}

#define TABLE_ROUNDS	256

/* Nor does a call keep the tables that it set aside and did not need. */
static void needs_no_tables(const struct dm *dm)
{
	int fd = dm_open_number(dm->device);
	long long before = 0, after;
	unsigned int round;
	__u64 value;
	char *mem;

	cgroup_enter("dmirror");
	mem = dm_map_flags(DM_HUGE, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	DM_CHECK(fd >= 0 && mem);
	/* With this page mapped no table becomes empty, to be used again. */
	DM_CHECK(!dm_read64(fd, mem + 2 * dm->page, &value));
	for (round = 0; round <= TABLE_ROUNDS; round++) {
		DM_CHECK(!madvise(mem, dm->page, MADV_DONTNEED));
		DM_CHECK(!dm_write64(fd, mem, round));
		dm_poke(mem + dm->page, round);
		DM_CHECK(!dm_add64(fd, mem + dm->page, 1));
		if (!round)
			before = cgroup_value("dmirror", "memory.current");
	}
	dm_settle();
	after = cgroup_value("dmirror", "memory.current");
	DM_CHECK(after < before + SLACK);
	_exit(0);
}

TEST_F_TIMEOUT(state, tables_are_let_go, 120)
{
	const char *why = cgroup_make("dmirror");

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, in_cgroup("dmirror", &self->dm, closes_files));
	ASSERT_EQ(NULL, cgroup_make("dmirror"));
	EXPECT_EQ(0, in_cgroup("dmirror", &self->dm, needs_no_tables));
}

static void has_faults_served(const struct dm *dm)
{
	int fd = dm_open_number(dm->device);
	struct dmirror_wait w;
	unsigned int i;
	__u64 value, job;
	char *mem;

	cgroup_enter("dmirror-gone");
	mem = dm_alloc(dm, dm->len, SEED);
	DM_CHECK(fd >= 0 && mem);
	for (i = 0; i < 8; i++) {
		DM_CHECK(!dm_read64(fd, mem, &value));
		DM_CHECK(!dm_write64(fd, mem, value));
		DM_CHECK(!dm_add64(fd, mem, 0));
		DM_CHECK(!dm_submit(fd, DMIRROR_JOB_MIGRATE, mem, dm->len,
				    i & 1 ? DMIRROR_TARGET_SYSTEM :
				    DMIRROR_TARGET_DEVICE, -1, &job));
		DM_CHECK(!dm_wait_job(fd, job, 0, &w));
	}
	_exit(!!dm_bad(mem, dm->len, SEED));
}

/* What the driver does for a program holds on to its cgroup no longer than that. */
TEST_F_TIMEOUT(state, cgroup_let_go, 120)
{
	const char *why = cgroup_make("dmirror-gone");
	long before;
	pid_t pid;

	if (why)
		SKIP(return, "%s", why);
	/* Those of other tests are to be gone. */
	before = dying_settled(0);
	pid = fork();
	if (!pid)
		has_faults_served(&self->dm);
	EXPECT_EQ(0, dm_wait(pid));
	ASSERT_EQ(0, cgroup_remove("dmirror-gone"));
	EXPECT_GE(before, dying_settled(before));
}

#define EXCLUSIVE_PAGES		128
#define EXCLUSIVE_ROUNDS	8

/* Pages that a device has exclusively when they are unmapped are free then. */
static void unmaps_exclusive(const struct dm *dm)
{
	const size_t len = EXCLUSIVE_PAGES * dm->page;
	int fd = dm_open_number(dm->device);
	struct dmirror_atomic a;
	long long before = 0;
	unsigned int round;
	char *mem, *at;

	cgroup_enter("dmirror");
	DM_CHECK(fd >= 0);
	for (round = 0; round <= EXCLUSIVE_ROUNDS; round++) {
		mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS);
		DM_CHECK(mem);
		for (at = mem; at < mem + len; at += dm->page) {
			dm_poke(at, 1);
			DM_CHECK(!dm_atomic(fd, DMIRROR_ATOMIC_ADD, at, 8, 1, 0,
					    &a));
		}
		DM_CHECK(a.flags == DMIRROR_ATOMIC_EXCLUSIVE);
		if (round & 1)
			DM_CHECK(!madvise(mem, len, MADV_DONTNEED));
		DM_CHECK(!munmap(mem, len));
		if (!round)
			before = charged("dmirror");
	}
	DM_CHECK(charged("dmirror") < before + SLACK);
	_exit(0);
}

TEST_F_TIMEOUT(state, exclusive_let_go, 120)
{
	const char *why = cgroup_make("dmirror");

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, in_cgroup("dmirror", &self->dm, unmaps_exclusive));
}

/*
 * A hole as large as a huge page, in a cgroup in which there never was one: what it
 * becomes is split, on the device and in the system.
 */
static void uses_huge_hole(const struct dm *dm)
{
	int fd = dm_open_number(dm->device);
	const size_t len = 2 * DM_HUGE;
	char *mem;

	cgroup_enter("dmirror-new");
	mem = dm_map(dm, len);
	DM_CHECK(fd >= 0 && mem);
	DM_CHECK(!dm_to_device(fd, mem, len));
	DM_CHECK(!dm_to_system(fd, mem + dm->page, dm->page));
	dm_poke(mem + DM_HUGE, 1);
	DM_CHECK(!munmap(mem + DM_HUGE + dm->page, DM_HUGE / 2));
	DM_CHECK(dm_zero(mem, DM_HUGE));
	DM_CHECK(dm_peek(mem + DM_HUGE) == 1);
	/* And now there is one. */
	mem = dm_alloc(dm, DM_HUGE, SEED);
	DM_CHECK(mem && !dm_to_device(fd, mem, DM_HUGE));
	DM_CHECK(!dm_to_system(fd, mem + dm->page, dm->page));
	_exit(!!dm_bad(mem, DM_HUGE, SEED));
}

TEST_F_TIMEOUT(state, hole_in_a_new_cgroup, 120)
{
	const char *why = cgroup_make("dmirror-new");

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, in_cgroup("dmirror-new", &self->dm, uses_huge_hole));
}

#define NODE_SIZE	(16UL << 20)
#define NODE_ROUNDS	8

/* Of the node's own pages, which are charged, none is left. */
static void maps_the_node(const struct dm *dm)
{
	int fd = hmm_open(dm->device);
	long long before, after;
	unsigned int i;
	void *mem;

	cgroup_enter("dmirror");
	DM_CHECK(fd >= 0);
	before = cgroup_value("dmirror", "memory.current");
	for (i = 0; i < NODE_ROUNDS; i++) {
		mem = mmap(NULL, NODE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
		DM_CHECK(mem != MAP_FAILED);
		DM_CHECK(cgroup_value("dmirror", "memory.current") >=
			 (long long)NODE_SIZE);
		munmap(mem, NODE_SIZE);
	}
	dm_settle();
	after = cgroup_value("dmirror", "memory.current");
	DM_CHECK(after < before + (long long)NODE_SIZE);
	_exit(0);
}

TEST_F_TIMEOUT(state, node_lets_go, 120)
{
	const char *why = cgroup_make("dmirror");

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, in_cgroup("dmirror", &self->dm, maps_the_node));
}

TEST_HARNESS_MAIN
