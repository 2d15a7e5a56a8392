// SPDX-License-Identifier: GPL-2.0
/*
 * Every ioctl of both ABIs with every kind of wrong argument, from tables of what
 * the fields of each structure are: an ioctl that is added gets all of it by a
 * line in a table. Afterwards the memory is what it was, and where it was.
 */
#include <limits.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"

#define SEED	0xa46

/* What a field is, and so what is wrong for it */
enum kind {
	OUT = 1,	/* anything is right */
	RESERVED,	/* only zero is right */
	ADDR,		/* aligned to what .detail says */
	LENGTH,		/* likewise, and not zero */
	POINTER,	/* to the caller's memory */
	CHOICE,		/* from 1 to what .detail says */
	FLAGS,		/* the bits of .detail */
};

struct field {
	__u8 offset;
	__u8 width;
	__u8 kind;
	__u16 detail;
};

#define FIELD(type, name, width, kind, detail)				\
	{ offsetof(struct dmirror_##type, name), width, kind, detail }

/* Alignment to a page is said so: the size of one is not known here. */
#define PAGE	0x1000

static const struct field query_fields[] = {
	FIELD(query, version, 4, OUT, 0),
	FIELD(query, poisoned, 8, OUT, 0),
	{ }
};

static const struct field migrate_fields[] = {
	FIELD(migrate, target, 4, CHOICE, DMIRROR_TARGET_STAY),
	FIELD(migrate, addr, 8, ADDR, PAGE),
	FIELD(migrate, length, 8, LENGTH, PAGE),
	FIELD(migrate, moved, 8, OUT, 0),
	FIELD(migrate, busy, 8, OUT, 0),
	FIELD(migrate, fault_addr, 8, OUT, 0),
	{ }
};

static const struct field rw_fields[] = {
	FIELD(rw, reserved, 4, RESERVED, 0),
	FIELD(rw, addr, 8, ADDR, 1),
	FIELD(rw, length, 8, LENGTH, 1),
	FIELD(rw, data, 8, POINTER, 0),
	FIELD(rw, done, 8, OUT, 0),
	FIELD(rw, fault_addr, 8, OUT, 0),
	FIELD(rw, faults, 8, OUT, 0),
	{ }
};

static const struct field fill_fields[] = {
	FIELD(fill, reserved, 4, RESERVED, 0),
	FIELD(fill, addr, 8, ADDR, 8),
	FIELD(fill, length, 8, LENGTH, 8),
	FIELD(fill, done, 8, OUT, 0),
	{ }
};

static const struct field copy_fields[] = {
	FIELD(copy, reserved, 4, RESERVED, 0),
	FIELD(copy, dst, 8, ADDR, 1),
	FIELD(copy, src, 8, ADDR, 1),
	FIELD(copy, length, 8, LENGTH, 1),
	FIELD(copy, done, 8, OUT, 0),
	{ }
};

static const struct field atomic_fields[] = {
	FIELD(atomic, op, 4, CHOICE, DMIRROR_ATOMIC_CAS),
	FIELD(atomic, addr, 8, ADDR, 8),
	FIELD(atomic, flags, 4, OUT, 0),
	FIELD(atomic, compare, 8, RESERVED, 0),
	FIELD(atomic, result, 8, OUT, 0),
	{ }
};

static const struct field snapshot_fields[] = {
	FIELD(snapshot, reserved, 4, RESERVED, 0),
	FIELD(snapshot, addr, 8, ADDR, PAGE),
	FIELD(snapshot, length, 8, LENGTH, PAGE),
	FIELD(snapshot, pages, 8, POINTER, 0),
	FIELD(snapshot, done, 8, OUT, 0),
	{ }
};

static const struct field submit_fill_fields[] = {
	FIELD(submit, op, 4, CHOICE, DMIRROR_JOB_MIGRATE),
	FIELD(submit, addr, 8, ADDR, 8),
	FIELD(submit, length, 8, LENGTH, 8),
	FIELD(submit, reserved, 4, RESERVED, 0),
	FIELD(submit, job, 8, OUT, 0),
	{ }
};

static const struct field submit_copy_fields[] = {
	FIELD(submit, addr, 8, ADDR, 1),
	FIELD(submit, length, 8, LENGTH, 1),
	FIELD(submit, argument, 8, ADDR, 1),
	{ }
};

static const struct field submit_migrate_fields[] = {
	FIELD(submit, addr, 8, ADDR, PAGE),
	FIELD(submit, length, 8, LENGTH, PAGE),
	FIELD(submit, argument, 8, CHOICE, DMIRROR_TARGET_STAY),
	{ }
};

static const struct field wait_fields[] = {
	FIELD(wait, flags, 4, FLAGS, DMIRROR_WAIT_POLL),
	FIELD(wait, error, 4, OUT, 0),
	FIELD(wait, stayed, 8, OUT, 0),
	{ }
};

static const struct field advise_fields[] = {
	FIELD(advise, advice, 4, CHOICE, DMIRROR_ADVICE_PREFER_NONE),
	FIELD(advise, addr, 8, ADDR, PAGE),
	FIELD(advise, length, 8, LENGTH, PAGE),
	FIELD(advise, retained, 4, OUT, 0),
	FIELD(advise, reserved, 4, RESERVED, 0),
	FIELD(advise, fault_addr, 8, OUT, 0),
	{ }
};

static const struct io {
	const char *name;
	unsigned long request;
	size_t size;
	const struct field *fields;
} ios[] = {
	{ "query", DMIRROR_IOC_QUERY, sizeof(struct dmirror_query),
	  query_fields },
	{ "migrate", DMIRROR_IOC_MIGRATE, sizeof(struct dmirror_migrate),
	  migrate_fields },
	{ "read", DMIRROR_IOC_READ, sizeof(struct dmirror_rw), rw_fields },
	{ "write", DMIRROR_IOC_WRITE, sizeof(struct dmirror_rw), rw_fields },
	{ "fill", DMIRROR_IOC_FILL, sizeof(struct dmirror_fill), fill_fields },
	{ "copy", DMIRROR_IOC_COPY, sizeof(struct dmirror_copy), copy_fields },
	{ "atomic", DMIRROR_IOC_ATOMIC, sizeof(struct dmirror_atomic),
	  atomic_fields },
	{ "snapshot", DMIRROR_IOC_SNAPSHOT, sizeof(struct dmirror_snapshot),
	  snapshot_fields },
	{ "submit fill", DMIRROR_IOC_SUBMIT, sizeof(struct dmirror_submit),
	  submit_fill_fields },
	{ "submit copy", DMIRROR_IOC_SUBMIT, sizeof(struct dmirror_submit),
	  submit_copy_fields },
	{ "submit migrate", DMIRROR_IOC_SUBMIT, sizeof(struct dmirror_submit),
	  submit_migrate_fields },
	{ "wait", DMIRROR_IOC_WAIT, sizeof(struct dmirror_wait), wait_fields },
	{ "advise", DMIRROR_IOC_ADVISE, sizeof(struct dmirror_advise),
	  advise_fields },
};

/* Of the structure's first version */
static size_t first_size(const struct io *io)
{
	if (io->request == DMIRROR_IOC_QUERY)
		return offsetof(struct dmirror_query, refaults);
	return io->size;
}

static const struct io *const ios_end = ios + ARRAY_SIZE(ios);

union args {
	__u32 size;
	struct dmirror_migrate migrate;
	struct dmirror_rw rw;
	struct dmirror_fill fill;
	struct dmirror_copy copy;
	struct dmirror_atomic atomic;
	struct dmirror_snapshot snapshot;
	struct dmirror_submit submit;
	struct dmirror_wait wait;
	struct dmirror_advise advise;
	struct hmm_cmd hmm;
	char bytes[256];
};

FIXTURE(args)
{
	struct dm dm;
	size_t page;
	size_t len;
	char *mem;
	char *buffer;	/* of a page; the next one is not mapped */
	int hmm;
	__u64 job;	/* one that nobody has waited for */
	bool no_job;	/* none can be submitted by this process */
};

FIXTURE_VARIANT(args)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(args, private)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(args, coherent)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_SETUP(args)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->page = self->dm.page;
	self->len = 8 * self->page;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
	self->buffer = mmap(NULL, 2 * self->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->buffer);
	ASSERT_EQ(0, munmap(self->buffer + self->page, self->page));
	self->hmm = hmm_open(self->dm.device);
	ASSERT_LE(0, self->hmm);
	self->job = 0;
	self->no_job = false;
}

/* No wrong argument has changed anything. */
FIXTURE_TEARDOWN(args)
{
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	munmap(self->buffer, self->page);
	munmap(self->mem, self->len);
	close(self->hmm);
	close(self->dm.fd);
}

/* Where nobody has memory: not mapped, the kernel's, not even an address */
static const __u64 nowhere[] = {
	0, 8, 0x1000, 1ULL << 46, 0x800000000000ULL, 1ULL << 63,
	0xffff888000000000ULL, 0xffffffff81000000ULL, ~0xfffULL, ~0xfULL,
};

/* Arguments with which the ioctl succeeds, and changes no contents */
static void good_args(struct __test_metadata *_metadata,
		      struct _test_data_args *self, const struct io *io,
		      union args *args)
{
	uintptr_t mem = (uintptr_t)self->mem, other = mem + 4 * self->page;

	memset(args, 0, sizeof(*args));
	args->size = io->size;
	switch (io->request) {
	case DMIRROR_IOC_MIGRATE:
		args->migrate.target = DMIRROR_TARGET_STAY;
		args->migrate.addr = mem;
		args->migrate.length = 2 * self->page;
		break;
	case DMIRROR_IOC_READ:
	case DMIRROR_IOC_WRITE:
		memcpy(self->buffer, self->mem, self->page);
		args->rw.addr = mem;
		args->rw.length = self->page;
		args->rw.data = (uintptr_t)self->buffer;
		break;
	case DMIRROR_IOC_FILL:
		args->fill.addr = mem;
		args->fill.length = 8;
		args->fill.pattern = dm_peek(self->mem);
		break;
	case DMIRROR_IOC_COPY:
		dm_fill_from(self->mem + 4 * self->page, self->page, SEED, 4);
		args->copy.dst = mem + 2 * self->page;
		args->copy.src = other;
		args->copy.length = 8;
		memcpy(self->mem + 4 * self->page, self->mem + 2 * self->page,
		       8);
		break;
	case DMIRROR_IOC_ATOMIC:
		args->atomic.op = DMIRROR_ATOMIC_ADD;
		args->atomic.addr = mem;
		args->atomic.width = 8;
		break;
	case DMIRROR_IOC_SNAPSHOT:
		args->snapshot.addr = mem;
		args->snapshot.length = 2 * self->page;
		args->snapshot.pages = (uintptr_t)self->buffer;
		break;
	case DMIRROR_IOC_SUBMIT:
		args->submit.addr = mem;
		args->submit.eventfd = -1;
		args->submit.length = 8;
		if (!strcmp(io->name, "submit fill")) {
			args->submit.op = DMIRROR_JOB_FILL;
			args->submit.argument = dm_peek(self->mem);
		} else if (!strcmp(io->name, "submit copy")) {
			args->submit.op = DMIRROR_JOB_COPY;
			args->submit.argument = other;
			memcpy(self->mem + 4 * self->page, self->mem, 8);
		} else {
			args->submit.op = DMIRROR_JOB_MIGRATE;
			args->submit.argument = DMIRROR_TARGET_STAY;
			args->submit.length = 2 * self->page;
		}
		break;
	case DMIRROR_IOC_WAIT:
		if (!self->job && !self->no_job)
			ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
					       self->mem, 8, dm_peek(self->mem),
					       -1, &self->job));
		args->wait.job = self->job;
		break;
	case DMIRROR_IOC_ADVISE:
		args->advise.advice = DMIRROR_ADVICE_WILLNEED;
		args->advise.addr = mem;
		args->advise.length = 2 * self->page;
		break;
	}
}

/* Calls with the structure at @where; no job and no copy is left behind. */
static int call_at(struct _test_data_args *self, const struct io *io,
		   union args *where)
{
	int ret = dm_call(self->dm.fd, io->request, where);
	struct dmirror_wait wait;

	if (!ret && io->request == DMIRROR_IOC_SUBMIT)
		dm_wait_job(self->dm.fd, where->submit.job, 0, &wait);
	if (!ret && io->request == DMIRROR_IOC_WAIT)
		self->job = 0;
	dm_fill_from(self->mem + 4 * self->page, self->page, SEED, 4);
	return ret;
}

static int call(struct _test_data_args *self, const struct io *io,
		const union args *args)
{
	union args copy;

	memcpy(&copy, args, sizeof(copy));
	return call_at(self, io, &copy);
}

/* The number says the size too, which does not count: the structure does. */
TEST_F(args, numbers)
{
	unsigned long size = _IOC_SIZEMASK << _IOC_SIZESHIFT;
	unsigned long direction = (unsigned long)_IOC_DIRMASK << _IOC_DIRSHIFT;
	unsigned long type = 1UL << _IOC_TYPESHIFT;
	const struct io *io;
	union args args;

	for (io = ios; io < ios_end; io++) {
		good_args(_metadata, self, io, &args);
		EXPECT_EQ(0, dm_call(self->dm.fd, io->request | size, &args));
		if (io->request == DMIRROR_IOC_WAIT)
			self->job = 0;
		EXPECT_EQ(-ENOTTY, dm_call(self->dm.fd,
					   io->request & ~direction, &args));
		EXPECT_EQ(-ENOTTY, dm_call(self->dm.fd, io->request ^ type,
					   &args));
		EXPECT_EQ(-ENOTTY, dm_call(self->dm.fd, io->request | 0x80,
					   NULL));
	}
	dm_fill(self->mem, self->len, SEED);
}

#define MINE	0x5a

TEST_F(args, sizes)
{
	const struct io *io;
	union args args;
	size_t size, at;

	for (io = ios; io < ios_end; io++) {
		size_t first = first_size(io);

		TH_LOG("%s", io->name);
		for (size = 0; size < first; size++) {
			good_args(_metadata, self, io, &args);
			args.size = size;
			EXPECT_EQ(-EINVAL, call(self, io, &args));
		}

		/* An older program's, and a newer one's with nothing new in use */
		for (size = first; size <= io->size + 16; size += 4) {
			good_args(_metadata, self, io, &args);
			args.size = size;
			/* What an older one has behind it is its own. */
			for (at = size; at < io->size; at++)
				args.bytes[at] = MINE;
			EXPECT_EQ(0, call_at(self, io, &args));
			for (at = size; at < io->size; at++)
				EXPECT_EQ(MINE, args.bytes[at]);
		}

		/* The same with each of its bytes in use */
		for (size = io->size; size < io->size + 16; size++) {
			good_args(_metadata, self, io, &args);
			args.size = io->size + 16;
			args.bytes[size] = 1;
			EXPECT_EQ(-E2BIG, call(self, io, &args));
		}
		good_args(_metadata, self, io, &args);
		args.size = self->page + 1;
		EXPECT_EQ(-E2BIG, call(self, io, &args));
		args.size = ~0;
		EXPECT_EQ(-E2BIG, call(self, io, &args));
	}
}

/* At addresses that are no memory, and where the memory ends within it. */
TEST_F(args, structures)
{
	const struct io *io;
	union args args;
	size_t i;

	for (io = ios; io < ios_end; io++) {
		TH_LOG("%s", io->name);
		for (i = 0; i < ARRAY_SIZE(nowhere); i++)
			EXPECT_EQ(-EFAULT, dm_call(self->dm.fd, io->request,
						   (void *)(uintptr_t)nowhere[i]));
		for (i = 1; i < io->size; i++) {
			char *at = self->buffer + self->page - i;

			good_args(_metadata, self, io, &args);
			memcpy(at, &args, i);
			EXPECT_EQ(-EFAULT, call_at(self, io, (void *)at));
		}

		/* All of it, at the very end and at an odd address */
		for (i = io->size; i < io->size + 4; i++) {
			char *at = self->buffer + self->page - i;

			good_args(_metadata, self, io, &args);
			if (io->request == DMIRROR_IOC_READ ||
			    io->request == DMIRROR_IOC_WRITE)
				args.rw.length = 8;
			memcpy(at, &args, io->size);
			EXPECT_EQ(0, call_at(self, io, (void *)at));
		}
	}
}

static void set(union args *args, const struct field *field, __u64 value)
{
	/* The low bytes, as x86 and arm64 store them */
	memcpy(args->bytes + field->offset, &value, field->width);
}

/* A field of a call's structure that is to be wrong */
struct wrong {
	struct __test_metadata *_metadata;
	struct _test_data_args *self;
	const struct io *io;
	const struct field *field;
};

static void expect(const struct wrong *w, int error, __u64 value)
{
	struct __test_metadata *_metadata = w->_metadata;
	union args args;

	good_args(_metadata, w->self, w->io, &args);
	set(&args, w->field, value);
	EXPECT_EQ(error, call(w->self, w->io, &args)) {
		TH_LOG("%s with 0x%llx at offset %u", w->io->name,
		       (unsigned long long)value, w->field->offset);
	}
}

/* What the field is aligned to */
static __u64 alignment(const struct wrong *w)
{
	return w->field->detail == PAGE ? w->self->page : w->field->detail;
}

static void bad_addr(const struct wrong *w)
{
	__u64 mem = (uintptr_t)w->self->mem, bit, align = alignment(w);
	size_t i;

	for (bit = 1; bit < align; bit <<= 1) {
		expect(w, -EINVAL, mem + bit);
		expect(w, -EINVAL, ~0ULL - bit);
	}
	/* Above the address space, up to the last that is aligned. */
	for (i = 4; i < ARRAY_SIZE(nowhere); i++)
		expect(w, -EOVERFLOW, nowhere[i] & -align);
	expect(w, -EOVERFLOW, -align);
}

static void bad_length(const struct wrong *w)
{
	__u64 bit, align = alignment(w);

	expect(w, -EINVAL, 0);
	for (bit = 1; bit < align; bit <<= 1) {
		expect(w, -EINVAL, bit);
		expect(w, -EINVAL, w->self->page + bit);
	}
	for (bit = 1ULL << 47; bit; bit <<= 1)
		expect(w, -EOVERFLOW, bit);
	expect(w, -EOVERFLOW, -align);
}

static void bad_pointer(const struct wrong *w)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(nowhere); i++)
		expect(w, -EFAULT, nowhere[i]);
	/* Its end is not mapped. */
	expect(w, -EFAULT, (uintptr_t)w->self->buffer + w->self->page - 7);
}

static void bad_field(const struct wrong *w)
{
	unsigned int bits = 8 * w->field->width, bit;

	switch (w->field->kind) {
	case OUT:
		expect(w, 0, ~0ULL);
		expect(w, 0, 1);
		break;
	case RESERVED:
		for (bit = 0; bit < bits; bit++)
			expect(w, -EINVAL, 1ULL << bit);
		break;
	case ADDR:
		return bad_addr(w);
	case LENGTH:
		return bad_length(w);
	case POINTER:
		return bad_pointer(w);
	case CHOICE:
		expect(w, -EINVAL, 0);
		expect(w, -EINVAL, w->field->detail + 1);
		for (bit = 4; bit < bits; bit++)
			expect(w, -EINVAL, 1 | 1ULL << bit);
		break;
	case FLAGS:
		for (bit = 0; bit < bits; bit++)
			if (!(w->field->detail & 1 << bit))
				expect(w, -EINVAL, 1ULL << bit);
		break;
	}
}

TEST_F(args, fields)
{
	struct wrong w = { ._metadata = _metadata, .self = self };

	for (w.io = ios; w.io < ios_end; w.io++)
		for (w.field = w.io->fields; w.field->kind; w.field++)
			bad_field(&w);
}

/* What a table of single fields cannot say of a job */
TEST_F(args, submit)
{
	int notes[] = { -2, -100, INT_MIN }, bad[] = { 999, 0, 0 };
	__u64 job;
	size_t i;

	bad[1] = self->dm.fd;
	bad[2] = self->hmm;
	for (i = 0; i < ARRAY_SIZE(notes); i++)
		EXPECT_EQ(-EINVAL, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
					     self->mem, 8, 0, notes[i], &job));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EBADF, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
					    self->mem, 8, 0, bad[i], &job));
	EXPECT_EQ(-EINVAL, dm_submit(self->dm.fd, DMIRROR_JOB_COPY,
				     self->mem, 16, (uintptr_t)self->mem + 8,
				     -1, &job));
}

/* A file mirrors the process that opened it: another one's calls are refused. */
TEST_F(args, another_process)
{
	const struct io *io;
	union args args;
	pid_t pid = fork();

	if (!pid) {
		self->no_job = true;
		for (io = ios; io < ios_end; io++) {
			good_args(_metadata, self, io, &args);
			DM_CHECK(call(self, io, &args) == -EXDEV);
		}

		/* With a file of its own it can. */
		self->no_job = false;
		self->dm.fd = dm_open_number(self->dm.device);
		DM_CHECK(self->dm.fd >= 0);
		for (io = ios; io < ios_end; io++) {
			good_args(_metadata, self, io, &args);
			DM_CHECK(!call(self, io, &args));
		}
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
}

/* The process that opened the file is gone; another one still has the file. */
TEST_F(args, opener_has_exited)
{
	__u64 *word = dm_shared();
	const struct io *io;
	union args args;
	pid_t pid;

	ASSERT_NE(NULL, word);
	pid = fork();
	if (!pid) {
		self->dm.fd = dm_open_number(self->dm.device);
		DM_CHECK(self->dm.fd >= 0);
		if (fork())
			_exit(0);
		/* The grandchild: it waits for the word, then tries. */
		dm_await(word, 1);
		self->no_job = true;
		for (io = ios; io < ios_end; io++) {
			good_args(_metadata, self, io, &args);
			if (call(self, io, &args) != -ESRCH)
				break;
		}
		dm_poke(word, io == ios_end ? 2 : 3 + (io - ios));
		_exit(0);
	}
	ASSERT_EQ(0, dm_wait(pid));
	dm_poke(word, 1);
	dm_await(word, 2);
	EXPECT_EQ(2, dm_peek(word));
}

/*
 * The ABI of test_hmm
 */

static const struct hmm_io {
	const char *name;
	unsigned long request;
	bool data;	/* it uses .ptr */
	int nowhere;	/* what it says of an address that no process has */
} hmm_ios[] = {
	{ "read", HMM_READ, true, -EFAULT },
	{ "write", HMM_WRITE, true, -EFAULT },
	{ "to device", HMM_TO_DEV, true, -EINVAL },
	{ "to system", HMM_TO_SYS, false, -EINVAL },
	{ "snapshot", HMM_SNAPSHOT, true, -EINVAL },
	{ "exclusive", HMM_EXCLUSIVE, true, -EINVAL },
	{ "check exclusive", HMM_CHECK_EXCLUSIVE, false, -EINVAL },
	{ "release", HMM_RELEASE, false, 0 },
	{ "flags", HMM_FLAGS, false, 0 },
};

static const struct hmm_io *const hmm_ios_end = hmm_ios + ARRAY_SIZE(hmm_ios);

static void good_hmm(struct _test_data_args *self, const struct hmm_io *io,
		     struct hmm_cmd *cmd)
{
	memcpy(self->buffer, self->mem, self->page);
	*cmd = (struct hmm_cmd) {
		.addr = (uintptr_t)self->mem,
		.ptr = (uintptr_t)self->buffer,
		.npages = 1,
	};
	/* Not the flag that has an allocation fail */
	if (io->request == HMM_FLAGS)
		cmd->npages = 2;
	/* Nothing is left exclusive, or on the device. */
	dm_fill_from(self->mem, self->page, SEED, 0);
}

TEST_F(args, hmm_structures)
{
	const struct hmm_io *io;
	struct hmm_cmd cmd;
	size_t i;

	for (io = hmm_ios; io < hmm_ios_end; io++) {
		for (i = 0; i < ARRAY_SIZE(nowhere); i++)
			EXPECT_EQ(-EFAULT, dm_call(self->hmm, io->request,
						   (void *)(uintptr_t)nowhere[i]));
		for (i = 1; i < sizeof(cmd); i++) {
			char *at = self->buffer + self->page - i;

			good_hmm(self, io, &cmd);
			memcpy(at, &cmd, i);
			EXPECT_EQ(-EFAULT, dm_call(self->hmm, io->request, at));
		}

		/* It can be read, and not written. */
		good_hmm(self, io, &cmd);
		cmd.ptr = (uintptr_t)self->mem + self->page;
		memcpy(self->mem + self->page, self->mem, self->page);
		memcpy(self->buffer, &cmd, sizeof(cmd));
		ASSERT_EQ(0, mprotect(self->buffer, self->page, PROT_READ));
		EXPECT_EQ(-EFAULT, dm_call(self->hmm, io->request,
					   self->buffer));
		ASSERT_EQ(0, mprotect(self->buffer, self->page,
				      PROT_READ | PROT_WRITE));
		dm_fill_from(self->mem + self->page, self->page, SEED, 1);
	}
}

TEST_F(args, hmm_numbers)
{
	static const unsigned long none[] = {
		HMM_IOC(9), HMM_IOC(127), HMM_IOC(255), _IO('H', 0),
		_IOW('H', 0, struct hmm_cmd), _IOWR('H', 0, __u64),
		_IOWR('I', 0, struct hmm_cmd), 0, 0xffffffff,
	};
	struct hmm_cmd cmd;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(none); i++) {
		good_hmm(self, hmm_ios, &cmd);
		EXPECT_EQ(-EINVAL, dm_call(self->hmm, none[i], &cmd));
		EXPECT_EQ(-EFAULT, dm_call(self->hmm, none[i], NULL));
	}
	for (i = 0; i < ARRAY_SIZE(ios); i++)
		EXPECT_EQ(-EINVAL, dm_call(self->hmm, ios[i].request, &cmd));
}

/* Addresses and numbers of pages */
TEST_F(args, hmm_ranges)
{
	const struct hmm_io *io;
	struct hmm_cmd cmd;
	__u64 bit;
	size_t i;

	for (io = hmm_ios; io < hmm_ios_end; io++) {
		for (bit = 1; bit < self->page; bit <<= 1) {
			good_hmm(self, io, &cmd);
			cmd.addr += bit;
			EXPECT_EQ(-EINVAL, dm_call(self->hmm, io->request,
						   &cmd));
		}
		for (bit = 1ULL << 52; bit; bit <<= 1) {
			good_hmm(self, io, &cmd);
			cmd.npages |= bit;
			EXPECT_EQ(-EINVAL, dm_call(self->hmm, io->request,
						   &cmd));
		}
		good_hmm(self, io, &cmd);
		cmd.npages = 0;
		EXPECT_EQ(-EINVAL, dm_call(self->hmm, io->request, &cmd));
		good_hmm(self, io, &cmd);
		cmd.addr = -self->page;
		EXPECT_EQ(-EINVAL, dm_call(self->hmm, io->request, &cmd));
		for (i = 4; i < ARRAY_SIZE(nowhere) - 2; i++) {
			good_hmm(self, io, &cmd);
			cmd.addr = nowhere[i];
			EXPECT_EQ(io->nowhere, dm_call(self->hmm, io->request,
						       &cmd)) {
				TH_LOG("%s at 0x%llx", io->name,
				       (unsigned long long)nowhere[i]);
			}
		}
	}
}

/* The caller's buffer; that of who has none is of no interest. */
TEST_F(args, hmm_pointers)
{
	const struct hmm_io *io;
	struct hmm_cmd cmd;
	size_t i;

	for (io = hmm_ios; io < hmm_ios_end; io++) {
		int error = io->data ? -EFAULT : 0;

		for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
			good_hmm(self, io, &cmd);
			cmd.ptr = nowhere[i];
			EXPECT_EQ(error, dm_call(self->hmm, io->request, &cmd)) {
				TH_LOG("%s with 0x%llx", io->name,
				       (unsigned long long)nowhere[i]);
			}
		}

		/* The last byte is not mapped. */
		good_hmm(self, io, &cmd);
		cmd.npages = io->request == HMM_FLAGS ? 2 : 3;
		cmd.ptr = (uintptr_t)self->buffer +
			  (io->request == HMM_SNAPSHOT ? self->page - 2 : 1);
		EXPECT_EQ(error, dm_call(self->hmm, io->request, &cmd));
		dm_fill(self->mem, self->len, SEED);
	}
}

TEST_HARNESS_MAIN
