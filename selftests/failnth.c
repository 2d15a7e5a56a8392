// SPDX-License-Identifier: GPL-2.0
/*
 * Everything that can be asked of the driver, with the first thing that can fail in
 * the kernel made to fail, then the second, and so on until there is none: every
 * ioctl of both ABIs, open, close and mmap, the CPU's faults, and what else a
 * program does to memory that is mirrored. After each of them memory is what it
 * was or what it was to be, page by page, the same call works, and in the end
 * nothing is left of device memory. Then the same for the jobs of the copy engines,
 * and for faults that lose the race with the notifier.
 */
#include <setjmp.h>
#include <signal.h>

#include "dmirror_state.h"
#include "dmirror_inject.h"

#define PAGES		4	/* what calls are about */
#define FIRST		64	/* where they begin in a huge page */
#define NEW		(SEED + 1)
#define PATTERN		0xa5a5f00d12345678ULL
#define DENSE		60	/* from there on not every failure is tried */
#define DENSE_THP	16	/* each huge page takes long to make */
#define STRIDE		7
#define MAX_NTH		2000
#define FOR_EVER	1000000000
#define CPU_OPS		2	/* of those on memory, the first */

/* Which contents the memory is to have when a call is done */
enum after {
	SAME,
	WRITTEN,	/* what is in @src */
	FILLED,
	ONE_WORD,
	AFTERS
};

struct fail {
	struct dm dm;
	int fd;
	int hmm;
	size_t page;
	size_t len;
	char *area;		/* the mapping that @dst is in, of @area_len */
	size_t area_len;
	char *dst;		/* what calls are about */
	char *src;
	char *buf;
	char *refs[AFTERS];	/* contents; of SAME, those before */
	pid_t child;
	__u64 job;
};

struct op {
	const char *name;
	bool hmm;
	bool device;			/* the memory is on the device before */
	bool copies;			/* it has the engines copy */
	bool later;			/* after it has answered */
	enum after after;
	int (*prepare)(struct fail *f);
	int (*run)(struct fail *f);	/* with failures; a negative errno or 0 */
	int (*finish)(struct fail *f, int ret);	/* 0 if that was right */
};

/* How to have the n-th of something fail, and then whether it did */
struct injection {
	int (*arm)(unsigned int nth);
	bool (*disarm)(void);
};

/*
 * The driver's own ABI
 */

static int run_query(struct fail *f)
{
	struct dmirror_query q;

	return dm_query(f->fd, &q);
}

static int migrate(struct fail *f, unsigned int target)
{
	struct dmirror_migrate m;
	int ret = dm_migrate_raw(f->fd, f->dst, f->len, target, &m);

	/* What was counted is written back, unless that is what failed. */
	if (!ret && dm_migrate_sum(&m) != f->len)
		return -EILSEQ;
	return ret;
}

static int run_to_device(struct fail *f)
{
	return migrate(f, DMIRROR_TARGET_DEVICE);
}

static int run_to_system(struct fail *f)
{
	return migrate(f, DMIRROR_TARGET_SYSTEM);
}

static int run_stay(struct fail *f)
{
	return migrate(f, DMIRROR_TARGET_STAY);
}

static int run_read(struct fail *f)
{
	memset(f->buf, 0, f->len);
	return dm_read(f->fd, f->dst, f->buf, f->len) ?:
	       memcmp(f->buf, f->refs[SAME], f->len) ? -EILSEQ : 0;
}

static int run_write(struct fail *f)
{
	return dm_write(f->fd, f->dst, f->refs[WRITTEN], f->len);
}

static int run_fill(struct fail *f)
{
	return dm_fill_device(f->fd, f->dst, f->len, PATTERN);
}

static int run_copy(struct fail *f)
{
	return dm_copy(f->fd, f->dst, f->src, f->len);
}

static int run_atomic(struct fail *f)
{
	struct dmirror_atomic a;

	return dm_atomic(f->fd, DMIRROR_ATOMIC_CAS, f->dst, 8,
			 dm_word(NEW, 0, 0), dm_word(SEED, 0, 0), &a);
}

/*
 * The CPU has it again: what a device has exclusively looks like an entry that is
 * left, also where the call failed after it had the page.
 */
static int finish_exclusive(struct fail *f, int ret)
{
	for (size_t i = 0; i < f->len; i += f->page)
		dm_peek(f->dst + i);
	return 0;
}

static int run_snapshot(struct fail *f)
{
	struct dmirror_page *pages = (void *)f->buf;

	return dm_snapshot(f->fd, f->dst, f->len, pages);
}

static int submit(struct fail *f, unsigned int op, __u64 argument)
{
	f->job = 0;
	return dm_submit(f->fd, op, f->dst, f->len, argument, -1, &f->job);
}

static int run_submit_fill(struct fail *f)
{
	return submit(f, DMIRROR_JOB_FILL, PATTERN);
}

static int run_submit_copy(struct fail *f)
{
	return submit(f, DMIRROR_JOB_COPY, (uintptr_t)f->src);
}

static int run_submit_migrate(struct fail *f)
{
	return submit(f, DMIRROR_JOB_MIGRATE, DMIRROR_TARGET_DEVICE);
}

static int finish_submit(struct fail *f, int ret)
{
	struct dmirror_wait w;

	if (ret)
		return 0;
	return dm_wait_job(f->fd, f->job, 0, &w) ?: -(int)w.error;
}

/* The job says if what has failed is its copy. */
static int finish_prefetch(struct fail *f, int ret)
{
	ret = finish_submit(f, ret);
	return ret == -EIO ? 0 : ret;
}

static int run_wait(struct fail *f)
{
	struct dmirror_wait w;

	return dm_wait_job(f->fd, f->job, 0, &w) ?: -(int)w.error;
}

/* The answer may have got lost, but the job is not there twice. */
static int finish_wait(struct fail *f, int ret)
{
	struct dmirror_wait w;
	int again;

	if (!ret)
		return 0;
	again = dm_wait_job(f->fd, f->job, 0, &w);
	return again == -ENOENT ? 0 : again ?: -(int)w.error;
}

static int advise(struct fail *f, unsigned int advice)
{
	struct dmirror_advise a = {
		.size = sizeof(a),
		.advice = advice,
		.addr = (uintptr_t)f->dst,
		.length = f->len,
	};

	return dm_call(f->fd, DMIRROR_IOC_ADVISE, &a);
}

static int run_dontneed(struct fail *f)
{
	return advise(f, DMIRROR_ADVICE_DONTNEED);
}

static int run_willneed(struct fail *f)
{
	return advise(f, DMIRROR_ADVICE_WILLNEED);
}

static int run_prefer(struct fail *f)
{
	return advise(f, DMIRROR_ADVICE_PREFER_SYSTEM);
}

static int finish_prefer(struct fail *f, int ret)
{
	return advise(f, DMIRROR_ADVICE_PREFER_NONE);
}

static int open_close(int fd)
{
	return fd < 0 ? -errno : close(fd);
}

static int run_open(struct fail *f)
{
	return open_close(dm_open_number(f->dm.device));
}

/*
 * test_hmm's
 */

static int hmm(struct fail *f, unsigned long request, void *ptr)
{
	return hmm_call(f->hmm, request, f->dst, ptr, f->len / f->page, NULL);
}

static int run_hmm_read(struct fail *f)
{
	memset(f->buf, 0, f->len);
	return hmm(f, HMM_READ, f->buf) ?:
	       memcmp(f->buf, f->refs[SAME], f->len) ? -EILSEQ : 0;
}

static int run_hmm_write(struct fail *f)
{
	return hmm(f, HMM_WRITE, f->refs[WRITTEN]);
}

static int run_hmm_to_dev(struct fail *f)
{
	return hmm(f, HMM_TO_DEV, f->buf);
}

static int run_hmm_to_sys(struct fail *f)
{
	return hmm(f, HMM_TO_SYS, NULL);
}

static int run_hmm_snapshot(struct fail *f)
{
	return hmm(f, HMM_SNAPSHOT, f->buf);
}

static int run_hmm_exclusive(struct fail *f)
{
	return hmm(f, HMM_EXCLUSIVE, f->buf);
}

static int run_hmm_check(struct fail *f)
{
	return hmm(f, HMM_CHECK_EXCLUSIVE, NULL);
}

static int run_hmm_release(struct fail *f)
{
	return hmm(f, HMM_RELEASE, NULL);
}

static int run_hmm_flags(struct fail *f)
{
	return hmm_call(f->hmm, HMM_FLAGS, f->dst, NULL, 2, NULL);
}

static int run_hmm_open(struct fail *f)
{
	return open_close(hmm_open(f->dm.device));
}

static int run_hmm_mmap(struct fail *f)
{
	void *p = mmap(NULL, f->len, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		       f->hmm, 0);

	return p == MAP_FAILED || munmap(p, f->len) ? -errno : 0;
}

/*
 * The CPU, and what the program does to the mapping
 */

static sigjmp_buf bus_error;

static void on_bus_error(int sig)
{
	siglongjmp(bus_error, 1);
}

/* A copy that fails is a bus error, and for want of memory mm tries again. */
static int run_cpu_read(struct fail *f)
{
	if (sigsetjmp(bus_error, 1))
		return -EIO;
	for (size_t i = 0; i < f->len; i += f->page)
		dm_peek(f->dst + i);
	return 0;
}

static int run_cpu_write(struct fail *f)
{
	if (sigsetjmp(bus_error, 1))
		return -EIO;
	dm_poke(f->dst, dm_word(NEW, 0, 0));
	return 0;
}

static int run_fork(struct fail *f)
{
	f->child = fork();
	if (!f->child) {
		DM_CHECK(!memcmp(f->dst, f->refs[SAME], f->len));
		memcpy(f->dst, f->refs[WRITTEN], f->len);
		_exit(0);
	}
	return f->child < 0 ? -errno : 0;
}

static int finish_fork(struct fail *f, int ret)
{
	return ret ? 0 : dm_wait(f->child);
}

static int run_mprotect(struct fail *f)
{
	return mprotect(f->dst, f->page, PROT_READ) ? -errno : 0;
}

static int finish_mprotect(struct fail *f, int ret)
{
	return mprotect(f->dst, f->page, PROT_READ | PROT_WRITE);
}

static int run_mremap(struct fail *f)
{
	char *to = f->area + f->area_len - f->len;
	char *p = mremap(f->dst, f->len, f->len, MREMAP_MAYMOVE | MREMAP_FIXED,
			 f->dst == to ? to - f->len : to);

	if (p == MAP_FAILED)
		return -errno;
	f->dst = p;
	return 0;
}

/* Splits the mapping around the memory, and a huge page. */
static int run_munmap(struct fail *f)
{
	return munmap(f->dst + f->len, f->page) ? -errno : 0;
}

static int prepare_wait(struct fail *f)
{
	return run_submit_fill(f);
}

static const struct op ops[] = {
	{ "query", .run = run_query },
	{ "to_device", .copies = true, .run = run_to_device },
	{ "to_system", .device = true, .copies = true, .run = run_to_system },
	{ "stay", .run = run_stay },
	{ "read", .run = run_read },
	{ "write", .device = true, .after = WRITTEN, .run = run_write },
	{ "fill", .after = FILLED, .run = run_fill },
	{ "copy", .device = true, .after = WRITTEN, .run = run_copy },
	{ "atomic", .after = ONE_WORD, .run = run_atomic,
	  .finish = finish_exclusive },
	{ "atomic there", .device = true, .after = ONE_WORD, .run = run_atomic,
	  .finish = finish_exclusive },
	{ "snapshot", .device = true, .run = run_snapshot },
	{ "submit fill", .after = FILLED, .run = run_submit_fill,
	  .finish = finish_submit },
	{ "submit copy", .after = WRITTEN, .run = run_submit_copy,
	  .finish = finish_submit },
	{ "submit migrate", .copies = true, .later = true,
	  .run = run_submit_migrate,
	  .finish = finish_prefetch },
	{ "wait", .after = FILLED, .prepare = prepare_wait, .run = run_wait,
	  .finish = finish_wait },
	{ "dontneed", .device = true, .run = run_dontneed },
	{ "willneed", .device = true, .prepare = run_dontneed,
	  .run = run_willneed },
	{ "prefer", .run = run_prefer, .finish = finish_prefer },
	{ "open", .run = run_open },
	{ "hmm read", .hmm = true, .device = true, .run = run_hmm_read },
	{ "hmm write", .hmm = true, .after = WRITTEN, .run = run_hmm_write },
	{ "hmm to dev", .hmm = true, .copies = true, .run = run_hmm_to_dev },
	{ "hmm to sys", .hmm = true, .device = true, .copies = true, .run = run_hmm_to_sys },
	{ "hmm snapshot", .hmm = true, .device = true,
	  .run = run_hmm_snapshot },
	{ "hmm exclusive", .hmm = true, .run = run_hmm_exclusive,
	  .finish = finish_exclusive },
	{ "hmm check", .hmm = true, .run = run_hmm_check },
	{ "hmm release", .hmm = true, .device = true, .copies = true, .run = run_hmm_release },
	{ "hmm flags", .hmm = true, .run = run_hmm_flags },
	{ "hmm open", .hmm = true, .run = run_hmm_open },
	{ "hmm mmap", .hmm = true, .run = run_hmm_mmap },
};

static const struct op memory_ops[] = {
	{ "CPU read", .device = true, .run = run_cpu_read },
	{ "CPU write", .device = true, .after = ONE_WORD,
	  .run = run_cpu_write },
	{ "fork", .device = true, .run = run_fork, .finish = finish_fork },
	{ "mprotect", .device = true, .run = run_mprotect,
	  .finish = finish_mprotect },
	{ "mremap", .device = true, .run = run_mremap },
	{ "munmap", .device = true, .run = run_munmap },
};

static void drop_area(struct fail *f)
{
	if (f->area)
		munmap(f->area, f->area_len);
	f->area = NULL;
}

/* Memory as it is before a call, and nothing left of what was before that */
static int fresh(struct fail *f, const struct op *op)
{
	drop_area(f);
	f->area = dm_map(&f->dm, f->area_len);
	if (!f->area)
		return -ENOMEM;
	f->dst = f->area + FIRST * f->page;
	memcpy(f->dst, f->refs[SAME], f->len);
	/* Else the call would fault for the program's buffer, and not for itself */
	memset(f->buf, 0, f->len);
	return op->device ? dm_to_device(f->fd, f->dst, f->len) : 0;
}

/* Whether every page is as it was or as it was to be, or all the latter */
static bool is_right(const struct fail *f, const char *mem, enum after after,
		     bool done)
{
	size_t i;

	for (i = 0; i < f->len; i += f->page) {
		if (!memcmp(mem + i, f->refs[after] + i, f->page))
			continue;
		if (!done && !memcmp(mem + i, f->refs[SAME] + i, f->page))
			continue;
		fprintf(stderr, "# page %zu has neither contents: %llx\n",
			i / f->page, dm_peek(mem + i));
		return false;
	}
	return true;
}

/* What a call may answer when something has failed */
static bool may_answer(const struct op *op, int ret)
{
	switch (ret) {
	case 0:
	case -ENOMEM:
	case -EFAULT:
	case -EBUSY:
	case -EIO:
		return true;
	case -ENOSPC:
		return !op->hmm;
	case -EINVAL:
	case -ENOENT:
		return op->hmm;
	default:
		return false;
	}
}

static int arm_copy(unsigned int nth)
{
	return dm_attr_start("fail_copy", nth, 1) ? -EIO : 0;
}

static bool disarm_copy(void)
{
	return dm_attr_stop("fail_copy") == 0;
}

static int arm_fault(unsigned int nth)
{
	return dm_attr_start("fail_fault", nth, 1) ? -EIO : 0;
}

static bool disarm_fault(void)
{
	return dm_attr_stop("fail_fault") == 0;
}

static const struct injection allocations = { dm_nth_start, dm_nth_stop };
static const struct injection engines = { arm_copy, disarm_copy };
static const struct injection faults = { arm_fault, disarm_fault };

/* One call, with the @nth failure of @in: NULL, or what was wrong with it */
static const char *call(struct fail *f, const struct op *op, unsigned int nth,
			const struct injection *in, bool *failed, int *ret)
{
	bool later = op->later && in == &engines;

	*ret = fresh(f, op);
	if (!*ret && op->prepare)
		*ret = op->prepare(f);
	if (*ret || in->arm(nth))
		return "could not begin";
	*ret = op->run(f);
	if (!later)
		*failed = in->disarm();
	if (op->finish && op->finish(f, *ret))
		return "wrong end";
	if (later)
		*failed = in->disarm();
	if (!may_answer(op, *ret) || (*ret && !*failed))
		return "wrong answer";
	return NULL;
}

/* What holds after a call that has answered @ret, or what does not */
static const char *aftermath(struct fail *f, const struct op *op, int ret)
{
	if (dm_stuck(f->fd, f->dst, f->len))
		return "entries are left";
	memset(f->buf, 0, f->len);
	if (dm_read(f->fd, f->dst, f->buf, f->len) ||
	    !is_right(f, f->buf, op->after, !ret))
		return "wrong contents";

	/* The same again, and then all is as it should have been. */
	ret = op->prepare ? op->prepare(f) : 0;
	ret = ret ?: op->run(f);
	if (!ret && op->finish)
		ret = op->finish(f, ret);
	if (ret || !is_right(f, f->dst, op->after, true))
		return "the next call does not work";
	return NULL;
}

/* Whether the @nth failure was one of the call's, or a negative errno */
static int one_failure(struct fail *f, const struct op *op, unsigned int nth,
		       const struct injection *in)
{
	bool failed = false;
	const char *wrong;
	int ret;

	wrong = call(f, op, nth, in, &failed, &ret) ?: aftermath(f, op, ret);
	if (!wrong)
		return failed;
	fprintf(stderr, "# %s, failure %u: it answers %d; %s (%ld)\n", op->name,
		nth, ret, wrong, dm_stuck(f->fd, f->dst, f->len));
	return -EILSEQ;
}

/* How many failures the call has met, one at a time, or a negative errno */
static int all_failures(struct fail *f, const struct op *op,
			const struct injection *in)
{
	unsigned int dense = f->dm.backing.thp ? DENSE_THP : DENSE;
	unsigned int nth = 1, failures = 0;
	int ret;

	for (; nth < MAX_NTH; nth += nth < dense ? 1 : STRIDE) {
		ret = one_failure(f, op, nth, in);
		if (ret <= 0)
			return ret ?: failures;
		failures++;
	}
	fprintf(stderr, "# %s does not come to an end\n", op->name);
	return -ELOOP;
}

static int fail_init(struct fail *f, const struct dm *dm, int fd)
{
	unsigned int i;

	memset(f, 0, sizeof(*f));
	f->dm = *dm;
	f->fd = fd;
	f->hmm = hmm_open(dm->device);
	f->page = dm->page;
	f->len = PAGES * f->page;
	f->area_len = dm->backing.thp ? DM_HUGE : (FIRST + 64) * f->page;
	f->src = dm_map(dm, f->len);
	f->buf = malloc(f->len);
	for (i = 0; i < AFTERS; i++)
		f->refs[i] = malloc(f->len);
	if (!f->src || !f->buf || !f->refs[ONE_WORD])
		return -ENOMEM;
	for (i = 0; i < AFTERS; i++)
		dm_fill(f->refs[i], f->len, i == WRITTEN ? NEW : SEED);
	for (i = 0; i < f->len / 8; i++)
		((__u64 *)f->refs[FILLED])[i] = PATTERN;
	*(__u64 *)f->refs[ONE_WORD] = dm_word(NEW, 0, 0);
	memcpy(f->src, f->refs[WRITTEN], f->len);
	signal(SIGBUS, on_bus_error);
	return 0;
}

static void fail_fini(struct fail *f)
{
	unsigned int i;

	drop_area(f);
	munmap(f->src, f->len);
	if (f->hmm >= 0)
		close(f->hmm);
	free(f->buf);
	for (i = 0; i < AFTERS; i++)
		free(f->refs[i]);
}

static long long placeholders(const struct fail *f)
{
	return dm_counter(f->dm.device, "placeholders");
}

/* Whether the call has something of the kind that can fail, or it may have */
static bool can_fail(const struct fail *f, const struct op *op,
		     const struct injection *in)
{
	bool coherent = f->dm.backing.memory_type == DMIRROR_MEMORY_COHERENT;

	/* The CPU uses coherent memory where it is. */
	if (op->run == run_cpu_read || op->run == run_cpu_write)
		return !coherent;
	return in != &engines || op->copies;
}

static int check_op(struct fail *f, const struct op *op,
		    const struct injection *in)
{
	__u64 before = dm_memory_used(f->fd);
	long long marks = placeholders(f);
	bool can = can_fail(f, op, in);
	unsigned int tries = 0;
	int ret;

	/* Pages can be busy for a moment, and then nothing is done. */
	do {
		ret = all_failures(f, op, in);
	} while (!ret && can && ++tries < 5);
	drop_area(f);
	if (!ret && can) {
		fprintf(stderr, "# %s has met no failure\n", op->name);
		return -ENOENT;
	}
	if (ret < 0)
		return ret;
	if (dm_memory_used(f->fd) == before && placeholders(f) == marks)
		return 0;
	fprintf(stderr, "# %s leaves device memory behind\n", op->name);
	return -ENOSPC;
}

/* All of a table: 0 or a negative errno */
static int check_ops(struct fail *f, const struct op *table, size_t nr,
		     const struct injection *in)
{
	int ret = 0, bad;
	size_t i;

	for (i = 0; i < nr; i++) {
		if (table[i].hmm && f->hmm < 0)
			continue;
		bad = check_op(f, &table[i], in);
		ret = ret ?: bad;
	}
	return ret;
}

/* Every ioctl of both ABIs, and opening and mapping the nodes */
TEST_F_TIMEOUT(state, calls, 120)
{
	const char *why = dm_nth_setup();
	struct fail f;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, fail_init(&f, &self->dm, self->fd));
	EXPECT_EQ(0, check_ops(&f, ops, ARRAY_SIZE(ops), &allocations));
	fail_fini(&f);
}

/* The CPU's faults, and calls that are about the mapping */
TEST_F_TIMEOUT(state, memory, 120)
{
	const char *why = dm_nth_setup();
	struct fail f;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, fail_init(&f, &self->dm, self->fd));
	EXPECT_EQ(0, check_ops(&f, memory_ops, ARRAY_SIZE(memory_ops),
			       &allocations));
	fail_fini(&f);
}

/* The same for what the engines copy: calls that copy meet it, whoever copies. */
TEST_F_TIMEOUT(state, copies, 120)
{
	const char *why = dm_attr_start("fail_copy", 1, 0);
	struct fail f;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, fail_init(&f, &self->dm, self->fd));
	EXPECT_EQ(0, check_ops(&f, ops, ARRAY_SIZE(ops), &engines));
	EXPECT_EQ(0, check_ops(&f, memory_ops, CPU_OPS, &engines));
	fail_fini(&f);
}

static const struct op *find_op(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

/* Calls of which a device fault is a part, for which a worker may want memory */
static const char * const faulting[] = {
	"read", "write", "fill", "copy", "hmm read", "hmm write",
};

/* A fault that cannot be served ends the call, and no other. */
TEST_F_TIMEOUT(state, device_faults, 120)
{
	const char *why = dm_attr_start("fail_fault", 1, 0);
	struct fail f;
	size_t i;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, fail_init(&f, &self->dm, self->fd));
	for (i = 0; i < ARRAY_SIZE(faulting); i++)
		EXPECT_EQ(0, check_ops(&f, find_op(faulting[i]), 1, &faults));
	fail_fini(&f);
}

/* A device that goes has its memory come back all the same. */
TEST_F_TIMEOUT(state, unplug_with_failing_copies, 120)
{
	const char *why = dm_attr_start("fail_copy", 1, 0);
	unsigned int nth;
	int fd;

	if (why)
		SKIP(return, "%s", why);
	for (nth = 1; nth <= 2; nth++) {
		fd = dm_open_number(self->dm.device);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, dm_to_device(fd, self->mem, self->len));
		ASSERT_EQ(NULL, dm_attr_start("fail_copy", nth, 1));
		ASSERT_EQ(0, dm_unplug(self->dm.device));
		if (nth == 1)
			EXPECT_EQ(0, dm_attr_stop("fail_copy"));
		dm_attr_stop("fail_copy");
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
		ASSERT_EQ(0, dm_plug(self->dm.device));
		close(fd);
	}
}

/* Calls that look at the CPU's page table and may have to look again */
static const char * const racing[] = {
	"read", "write", "fill", "copy", "atomic", "atomic there", "snapshot",
	"hmm read", "hmm write", "hmm to dev", "hmm snapshot", "hmm exclusive",
};

/*
 * Who loses the race so often in a row does its work once more than that, and then
 * is right; not once more for nothing.
 */
static int lose_races(struct fail *f, const struct op *op, int races)
{
	unsigned int device = f->dm.device;
	long long retries, others;
	int ret = fresh(f, op);
	long left;

	if (ret)
		return ret;
	retries = dm_counter(device, "retries");
	others = dm_counter(device, "invalidations");
	if (dm_attr_start("lose_race", 1, races))
		return -EIO;
	ret = op->run(f);
	left = dm_attr_stop("lose_race");
	retries = dm_counter(device, "retries") - retries;
	others = dm_counter(device, "invalidations") - others;
	if (!ret && !left && retries <= races + others &&
	    is_right(f, f->dst, op->after, true))
		return 0;
	fprintf(stderr,
		"# %s loses %d races: %d, %ld left, %lld retries, %lld invalidations\n",
		op->name, races, ret, left, retries, others);
	return -EILSEQ;
}

/*
 * There is room on the device, and no memory of the system that could stand for it. Not
 * the n-th failure: a block's memory is had in one way or another. What a device has
 * used once it keeps.
 */
TEST_F(state, nothing_behind_a_block)
{
	bool simulated = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	const char *why = dm_nth_setup();
	struct dmirror_migrate m;
	int fd, ret;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_unplug(self->dm.device));
	ASSERT_EQ(0, dm_plug(self->dm.device));
	fd = dm_open_number(self->dm.device);
	ASSERT_LE(0, fd);
	/* Nor could this thread write to what it shares since a fork, then. */
	mlockall(MCL_CURRENT);
	munlockall();
	ASSERT_EQ(0, dm_refuse_pages("0", true));
	ret = dm_migrate_raw(fd, self->mem, self->len, DMIRROR_TARGET_DEVICE, &m);
	ASSERT_EQ(0, dm_refuse_pages(NULL, true));
	if (simulated) {
		EXPECT_TRUE(ret == -ENOSPC || ret == -ENOMEM);
		EXPECT_EQ(0, m.moved);
	}
	EXPECT_EQ(m.moved, dm_memory_used(fd));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	EXPECT_EQ(0, dm_to_device(fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(fd);
}

TEST_F(state, lost_races)
{
	static const int races[] = { 1, 2, 50 };
	const char *why = dm_attr_start("lose_race", 1, 0);
	const struct op *op;
	struct fail f;
	size_t i, n;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, fail_init(&f, &self->dm, self->fd));
	for (i = 0; i < ARRAY_SIZE(racing); i++) {
		op = find_op(racing[i]);
		ASSERT_NE(NULL, op);
		for (n = 0; n < ARRAY_SIZE(races); n++)
			if (!op->hmm || f.hmm >= 0)
				EXPECT_EQ(0, lose_races(&f, op, races[n]));
	}
	fail_fini(&f);
}

/* A process that loses every race, and has lost some when this returns, or -1 */
static pid_t start_loser(const struct dm *dm, char *mem, char *buf, bool hmm)
{
	long long retries = dm_counter(dm->device, "retries");
	pid_t pid = -1;
	int fd;

	if (!dm_attr_start("lose_race", 1, FOR_EVER))
		pid = fork();
	if (!pid) {
		fd = hmm ? hmm_open(dm->device) : dm_open_number(dm->device);
		DM_CHECK(fd >= 0);
		DM_CHECK(hmm ? !hmm_call(fd, HMM_READ, mem, buf,
					 dm->len / dm->page, NULL) :
			       !dm_read(fd, mem, buf, dm->len));
		DM_CHECK(!dm_bad(buf, dm->len, SEED));
		_exit(0);
	}
	while (pid > 0 && dm_counter(dm->device, "retries") < retries + 100)
		sched_yield();
	return pid;
}

/*
 * Who loses for ever goes on until he wins, or until a fatal signal. A worker of the
 * driver that looks for a job knows no signals, and has to win.
 */
TEST_F(state, races_lost_for_ever)
{
	const char *why = dm_attr_start("lose_race", 1, 0);
	pid_t pid;

	if (why)
		SKIP(return, "%s", why);
	pid = start_loser(&self->dm, self->mem, self->buf, false);
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	dm_attr_stop("lose_race");
	EXPECT_EQ(0, dm_wait(pid));

	pid = start_loser(&self->dm, self->mem, self->buf, false);
	ASSERT_LT(0, pid);
	kill(pid, SIGKILL);
	dm_attr_stop("lose_race");
	EXPECT_EQ(-SIGKILL, dm_wait(pid));

	if (access("/dev/hmm_dmirror0", F_OK))
		SKIP(return, "the driver was loaded with hmm_abi=0");
	pid = start_loser(&self->dm, self->mem, self->buf, true);
	ASSERT_LT(0, pid);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait(pid));
	EXPECT_LT(0, dm_attr_stop("lose_race"));
}

TEST_HARNESS_MAIN
