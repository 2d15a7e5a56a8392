/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A sequence of calls made of arbitrary bytes. Any bytes are a sequence, and no
 * sequence does harm to the program that runs it: all memory that the calls are
 * about is in a window of its own, with nothing mapped for a long way around it.
 *
 * The fuzzer and the tests use it. What must hold for every sequence is checked
 * here, by abort().
 */
#ifndef SELFTESTS_DMIRROR_FUZZ_H
#define SELFTESTS_DMIRROR_FUZZ_H

#include <setjmp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "dmirror_inject.h"

/*
 * Eight bytes are a step. Their numbers are taken modulo what there is, so that
 * a changed byte is most often a different step and no invalid one.
 */
struct fuzz_op {
	__u8 what;	/* enum fuzz_what */
	__u8 slot;	/* which of the open files */
	__u8 nr;	/* which ioctl, advice, node, ... */
	__u8 addr;	/* see fuzz_addr() */
	__u8 len;	/* see fuzz_len() */
	__u8 ptr;	/* a second address */
	__u8 value;	/* whatever else an argument has to say */
	__u8 twist;	/* what is wrong with the arguments, see fuzz_twist() */
};

enum fuzz_what {
	FUZZ_OPEN,
	FUZZ_CLOSE,
	FUZZ_OWN,	/* an ioctl of linux/dmirror.h */
	FUZZ_OWN_TOO,	/* twice as often */
	FUZZ_HMM,	/* an ioctl of hmm_abi.h */
	FUZZ_HMM_TOO,
	FUZZ_MAP,
	FUZZ_UNMAP,
	FUZZ_PROTECT,
	FUZZ_ADVISE,
	FUZZ_MOVE,
	FUZZ_TOUCH,
	FUZZ_FORK,	/* a child does some of the steps that follow, too */
	FUZZ_FAIL,	/* an allocation or copy of the next step fails */
	FUZZ_EVICT,	/* some or all of a device's memory */
	FUZZ_WHATS
};

#define FUZZ_OPS	32
#define FUZZ_SLOTS	4
#define FUZZ_WINDOW	((char *)0x200000000UL)
#define FUZZ_BLOCKS	3UL
#define FUZZ_LEN	(FUZZ_BLOCKS * DM_HUGE)
/* Structures that are at the end of what is mapped */
#define FUZZ_EDGE	((char *)0x300000000UL)
#define FUZZ_CHECK_MAX	65536

static struct fuzz_state {
	int fds[FUZZ_SLOTS];
	int eventfd;
	unsigned int fail;
	bool can_fail;
	bool child;
	const char *input;
	sigjmp_buf jump;
} fuzz;

#define FUZZ_ASSERT(cond)						\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__,	\
				__LINE__, fuzz.input, #cond);		\
			abort();					\
		}							\
	} while (0)

/* Where nothing can be mapped, and the last page where something could be */
static const __u64 fuzz_nowhere[] = {
	0, 0x1000, 0x1001, 1ULL << 40, 0x7fffffffe000ULL, 0x7ffffffff000ULL,
	0x800000000000ULL, 1ULL << 63, 0xffff888000000000ULL,
	0xffffffff81000000ULL, ~0xfffULL, ~0ULL,
};

static const __u64 fuzz_special[] = {
	0, 1, 7, 8, 0xfff, 0x1000, 0x1001, 0x1fffff, 0x200000, 0x7fffffff,
	0x80000000, 0xffffffff, 1ULL << 32, 1ULL << 47, 1ULL << 52, 1ULL << 63,
	~0xfffULL, ~7ULL, ~0ULL,
};

static inline __u64 fuzz_addr(__u8 code)
{
	__u64 window = (uintptr_t)FUZZ_WINDOW;
	size_t page = dm_page_size();

	switch (code >> 6) {
	case 0:
		return window + (code & 63) * page;
	case 1:	/* around the ends of huge pages */
		return window + (code & 3) * DM_HUGE +
		       ((code >> 2 & 15) - 8) * page;
	case 2:	/* any byte */
		return window + (code & 7) * page +
		       ((__u64[]){ 1, 4, 8, 0x7fc, 0x800, 0xff8, 0xffc,
				   0xfff })[code >> 3 & 7];
	default:
		return fuzz_nowhere[(code & 63) % ARRAY_SIZE(fuzz_nowhere)];
	}
}

static inline __u64 fuzz_len(__u8 code)
{
	size_t page = dm_page_size();

	switch (code >> 6) {
	case 0:
		return ((code & 63) + 1) * page;
	case 1:	/* around huge pages */
		return (code & 3) * DM_HUGE + (code >> 2 & 15) * page;
	case 2:
		return ((code & 63) + 1) * 8;
	default:
		return page - 32 + (code & 63);
	}
}

/* The part of a range that is in the window, for calls that could do harm */
static inline size_t fuzz_clip(const struct fuzz_op *op, char **addr)
{
	__u64 start = fuzz_addr(op->addr) & ~(dm_page_size() - 1);
	__u64 window = (uintptr_t)FUZZ_WINDOW;
	__u64 room;

	if (start < window || start >= window + FUZZ_LEN)
		start = window;
	room = window + FUZZ_LEN - start;
	*addr = (char *)start;
	return fuzz_len(op->len) > room ? room : fuzz_len(op->len);
}

/*
 * The ioctls: what each field is made of
 */

enum fuzz_kind {
	FUZZ_ADDR = 1,
	FUZZ_LENGTH,
	FUZZ_PTR,
	FUZZ_VALUE,	/* a small number */
	FUZZ_ARGUMENT,	/* a small number or an address */
	FUZZ_WIDTH,
	FUZZ_BYTE,
	FUZZ_EVENTFD,
	FUZZ_JOB,
};

#define FUZZ_FIELD(type, field, width, kind)				\
	{ offsetof(struct dmirror_##type, field), width, kind }

static const struct fuzz_ioctl {
	const char *name;
	unsigned long request;
	size_t size;
	struct {
		__u8 offset;
		__u8 width;
		__u8 kind;
	} fields[5];
} fuzz_own[] = {
	{ "query", DMIRROR_IOC_QUERY, sizeof(struct dmirror_query), { } },
	{ "migrate", DMIRROR_IOC_MIGRATE, sizeof(struct dmirror_migrate), {
		FUZZ_FIELD(migrate, target, 4, FUZZ_VALUE),
		FUZZ_FIELD(migrate, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(migrate, length, 8, FUZZ_LENGTH) } },
	{ "read", DMIRROR_IOC_READ, sizeof(struct dmirror_rw), {
		FUZZ_FIELD(rw, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(rw, length, 8, FUZZ_LENGTH),
		FUZZ_FIELD(rw, data, 8, FUZZ_PTR) } },
	{ "write", DMIRROR_IOC_WRITE, sizeof(struct dmirror_rw), {
		FUZZ_FIELD(rw, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(rw, length, 8, FUZZ_LENGTH),
		FUZZ_FIELD(rw, data, 8, FUZZ_PTR) } },
	{ "fill", DMIRROR_IOC_FILL, sizeof(struct dmirror_fill), {
		FUZZ_FIELD(fill, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(fill, length, 8, FUZZ_LENGTH),
		FUZZ_FIELD(fill, pattern, 8, FUZZ_VALUE) } },
	{ "copy", DMIRROR_IOC_COPY, sizeof(struct dmirror_copy), {
		FUZZ_FIELD(copy, dst, 8, FUZZ_ADDR),
		FUZZ_FIELD(copy, length, 8, FUZZ_LENGTH),
		FUZZ_FIELD(copy, src, 8, FUZZ_PTR) } },
	{ "atomic", DMIRROR_IOC_ATOMIC, sizeof(struct dmirror_atomic), {
		FUZZ_FIELD(atomic, op, 4, FUZZ_VALUE),
		FUZZ_FIELD(atomic, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(atomic, width, 4, FUZZ_WIDTH),
		FUZZ_FIELD(atomic, operand, 8, FUZZ_BYTE) } },
	{ "snapshot", DMIRROR_IOC_SNAPSHOT, sizeof(struct dmirror_snapshot), {
		FUZZ_FIELD(snapshot, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(snapshot, length, 8, FUZZ_LENGTH),
		FUZZ_FIELD(snapshot, pages, 8, FUZZ_PTR) } },
	{ "submit", DMIRROR_IOC_SUBMIT, sizeof(struct dmirror_submit), {
		FUZZ_FIELD(submit, op, 4, FUZZ_VALUE),
		FUZZ_FIELD(submit, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(submit, length, 8, FUZZ_LENGTH),
		FUZZ_FIELD(submit, argument, 8, FUZZ_ARGUMENT),
		FUZZ_FIELD(submit, eventfd, 4, FUZZ_EVENTFD) } },
	{ "wait", DMIRROR_IOC_WAIT, sizeof(struct dmirror_wait), {
		FUZZ_FIELD(wait, flags, 4, FUZZ_VALUE),
		FUZZ_FIELD(wait, job, 8, FUZZ_JOB) } },
	{ "advise", DMIRROR_IOC_ADVISE, sizeof(struct dmirror_advise), {
		FUZZ_FIELD(advise, advice, 4, FUZZ_VALUE),
		FUZZ_FIELD(advise, addr, 8, FUZZ_ADDR),
		FUZZ_FIELD(advise, length, 8, FUZZ_LENGTH) } },
	/* None of these exists. */
	{ "none", _IOWR(DMIRROR_IOC_MAGIC, 0x0c, struct dmirror_rw),
	  sizeof(struct dmirror_rw), { } },
	{ "hmm", HMM_READ, sizeof(struct hmm_cmd), { } },
};

union fuzz_args {
	__u32 size;
	struct dmirror_migrate migrate;
	struct dmirror_rw rw;
	struct dmirror_fill fill;
	struct dmirror_copy copy;
	struct dmirror_snapshot snapshot;
	struct dmirror_wait wait;
	struct dmirror_advise advise;
	struct hmm_cmd hmm;
	__u64 words[32];
	__u8 bytes[8192];
};

static inline __u32 fuzz_eventfd(const struct fuzz_op *op)
{
	switch (op->value >> 5) {
	case 1:
		return fuzz.eventfd;
	case 2:
		return 999;
	case 3:
		return fuzz.fds[op->slot % FUZZ_SLOTS];
	case 4:
		return -2;
	}
	return -1;
}

static inline __u64 fuzz_field(const struct fuzz_op *op, unsigned int kind)
{
	switch (kind) {
	case FUZZ_ADDR:
		return fuzz_addr(op->addr);
	case FUZZ_LENGTH:
		return fuzz_len(op->len);
	case FUZZ_PTR:
		return fuzz_addr(op->ptr);
	case FUZZ_VALUE:
		return op->value & 7;
	case FUZZ_ARGUMENT:
		return (op->value & 7) == DMIRROR_JOB_COPY ?
		       fuzz_addr(op->ptr) : op->value >> 3 & 3;
	case FUZZ_WIDTH:
		return op->len & 1 ? 4 : 8;
	case FUZZ_BYTE:
		return op->ptr;
	case FUZZ_EVENTFD:
		return fuzz_eventfd(op);
	case FUZZ_JOB:
		return op->value >> 3;
	}
	return 0;
}

/*
 * What is wrong with a structure: nothing, one word of it, its size, or where it
 * is. Returns where it is.
 */
static inline void *fuzz_twist(const struct fuzz_op *op, union fuzz_args *args,
			       size_t size)
{
	static const __u32 sizes[] = {
		0, 1, 4, 8, 40, 48, 120, 4096, 4097, 0x7fffffff, 0xffffffff,
	};
	char *edge = FUZZ_EDGE + dm_page_size();
	unsigned int how = op->twist & 63;

	switch (op->twist >> 6) {
	case 1:
		args->words[how % (size / 8)] =
			fuzz_special[op->value % ARRAY_SIZE(fuzz_special)];
		break;
	case 2:
		args->size = how < 32 ? sizes[how % ARRAY_SIZE(sizes)] :
					size + (how & 3) * 8;
		/* Something at the end of what is new in it */
		if (how & 16)
			args->bytes[size + 7] = 1;
		break;
	case 3:
		if (how < 8)
			return (void *)(uintptr_t)fuzz_nowhere[how];
		edge -= how < 16 ? size : how;
		memcpy(edge, args, how < 16 ? size : how);
		return edge;
	}
	return args;
}

/*
 * What holds for every call
 */

static inline bool fuzz_documented(unsigned long request, int error)
{
	static const int always[] = {
		0, ENOTTY, EINVAL, E2BIG, EOVERFLOW, EFAULT, EPERM, EXDEV,
		ESRCH, ENOSPC, ENOMEM, EIO, ENODEV, ENODATA, EHWPOISON,
		EOPNOTSUPP,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(always); i++)
		if (error == always[i])
			return true;
	switch (request) {
	case DMIRROR_IOC_SUBMIT:
		return error == EBUSY || error == EBADF;
	case DMIRROR_IOC_WAIT:
		return error == EAGAIN || error == ENOENT;
	case DMIRROR_IOC_ADVISE:
		return error == EBUSY;
	}
	return false;
}

static inline void fuzz_check_own(unsigned long request, int error,
				  const union fuzz_args *args)
{
	const struct dmirror_advise *a = &args->advise;
	__u64 sum;

	FUZZ_ASSERT(fuzz_documented(request, error));
	switch (request) {
	case DMIRROR_IOC_MIGRATE:
		sum = dm_migrate_sum(&args->migrate);
		FUZZ_ASSERT(sum <= args->migrate.length);
		FUZZ_ASSERT(error || sum == args->migrate.length);
		FUZZ_ASSERT(error || !args->migrate.fault_addr);
		break;
	case DMIRROR_IOC_READ:
	case DMIRROR_IOC_WRITE:
	case DMIRROR_IOC_FILL:
		FUZZ_ASSERT(args->rw.done <= args->rw.length);
		FUZZ_ASSERT(error || args->rw.done == args->rw.length);
		FUZZ_ASSERT(error || !args->rw.fault_addr);
		break;
	case DMIRROR_IOC_COPY:
		FUZZ_ASSERT(args->copy.done <= args->copy.length);
		FUZZ_ASSERT(error || args->copy.done == args->copy.length);
		break;
	case DMIRROR_IOC_ADVISE:
		sum = a->applied + a->shared + a->busy + a->untouched;
		FUZZ_ASSERT(sum <= a->length);
		FUZZ_ASSERT(error || sum == a->length);
		FUZZ_ASSERT(a->dropped <= a->applied);
		break;
	case DMIRROR_IOC_WAIT:
		FUZZ_ASSERT(error || fuzz_documented(request, args->wait.error) ||
			    args->wait.error == ECANCELED);
		break;
	}
}

/* The next call fails inside, if the kernel can do that. */
static inline void fuzz_fail(bool start)
{
	if (!fuzz.fail || !fuzz.can_fail)
		return;
	if (start) {
		dm_nth_start(fuzz.fail);
	} else {
		dm_nth_stop();
		fuzz.fail = 0;
	}
}

static inline void fuzz_own_ioctl(const struct fuzz_op *op)
{
	const struct fuzz_ioctl *io = &fuzz_own[op->nr % ARRAY_SIZE(fuzz_own)];
	static union fuzz_args args;
	int fd = fuzz.fds[op->slot % FUZZ_SLOTS], ret;
	struct stat st;
	size_t i;
	void *where;

	memset(&args, 0, sizeof(args));
	args.size = io->size;
	for (i = 0; i < ARRAY_SIZE(io->fields); i++) {
		__u64 value = fuzz_field(op, io->fields[i].kind);

		/* The low bytes, as x86 and arm64 store them */
		memcpy(args.bytes + io->fields[i].offset, &value,
		       io->fields[i].width);
	}
	where = fuzz_twist(op, &args, io->size);
	fuzz_fail(true);
	ret = ioctl(fd, io->request, where);
	ret = ret < 0 ? errno : 0;
	fuzz_fail(false);

	/* Only of the driver's own nodes; EINVAL is before any output. */
	if (fd < 0 || fstat(fd, &st) || where != &args || fuzz.child ||
	    ret == EINVAL || ret == EFAULT || ret == E2BIG || ret == ENODEV ||
	    ret == EXDEV || ret == ENOTTY)
		return;
	fuzz_check_own(io->request, ret, &args);
}

/* Such a range of any length would be looked at, page by page. */
static inline bool fuzz_too_long(unsigned long request,
				 const union fuzz_args *args)
{
	return request == HMM_CHECK_EXCLUSIVE &&
	       args->hmm.npages > FUZZ_CHECK_MAX;
}

static inline void fuzz_hmm_ioctl(const struct fuzz_op *op)
{
	unsigned long request = HMM_IOC(op->nr % 11);
	static union fuzz_args args;

	memset(&args, 0, sizeof(args));
	args.hmm.addr = fuzz_addr(op->addr);
	args.hmm.ptr = fuzz_addr(op->ptr);
	args.hmm.npages = (fuzz_len(op->len) + dm_page_size() - 1) /
			  dm_page_size();
	if (op->nr % 11 == 10)
		request = DMIRROR_IOC_READ;
	if (request == HMM_FLAGS)
		args.hmm.npages = 2 | (op->value & HMM_FLAG_FAIL_ALLOC);
	if (op->twist >> 6 == 2)
		return;
	if (op->twist >> 6 == 1)
		fuzz_twist(op, &args, sizeof(args.hmm));
	if (fuzz_too_long(request, &args))
		return;
	fuzz_fail(true);
	ioctl(fuzz.fds[op->slot % FUZZ_SLOTS], request,
	      op->twist >> 6 == 3 ? fuzz_twist(op, &args, sizeof(args.hmm)) :
				    &args);
	fuzz_fail(false);
}

/*
 * The rest of the steps
 */

static inline void fuzz_open(const struct fuzz_op *op)
{
	int *fd = &fuzz.fds[op->slot % FUZZ_SLOTS];

	if (*fd >= 0)
		close(*fd);
	fuzz_fail(true);
	*fd = op->nr & 4 ? hmm_open(op->nr & 3) : dm_open_number(op->nr & 3);
	fuzz_fail(false);
}

static inline void fuzz_close(const struct fuzz_op *op)
{
	int *fd = &fuzz.fds[op->slot % FUZZ_SLOTS];

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void fuzz_map(const struct fuzz_op *op)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE, PROT_WRITE,
	};
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	size_t len;
	char *addr;

	len = fuzz_clip(op, &addr);
	switch (op->nr & 7) {
	case 4:
		flags = MAP_SHARED | MAP_ANONYMOUS;
		break;
	case 5:
		flags |= MAP_HUGETLB;
		break;
	case 6:
		flags = MAP_SHARED;
		fd = fuzz.fds[op->slot % FUZZ_SLOTS];
		break;
	case 7:
		flags |= MAP_LOCKED;
		break;
	}
	fuzz_fail(true);
	mmap(addr, len, prots[op->value & 3], flags | MAP_FIXED, fd, 0);
	fuzz_fail(false);
}

static inline void fuzz_advise(const struct fuzz_op *op)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE,
		MADV_FREE, MADV_PAGEOUT, MADV_COLD, MADV_DONTFORK, MADV_DOFORK,
		MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_MERGEABLE,
		MADV_UNMERGEABLE, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
		MADV_REMOVE,
	};
	size_t len;
	char *addr;

	len = fuzz_clip(op, &addr);
	madvise(addr, len, advice[op->nr % ARRAY_SIZE(advice)]);
}

static inline void fuzz_move(const struct fuzz_op *op)
{
	struct fuzz_op to = { .addr = op->ptr, .len = op->len };
	size_t len, room;
	char *from, *dst;

	len = fuzz_clip(op, &from);
	room = fuzz_clip(&to, &dst);
	mremap(from, len, op->nr & 1 ? len : room,
	       MREMAP_MAYMOVE | MREMAP_FIXED |
	       (op->nr & 2 ? MREMAP_DONTUNMAP : 0), dst);
}

static inline void fuzz_caught(int signal)
{
	siglongjmp(fuzz.jump, signal);
}

static inline bool fuzz_touch_page(char *addr, bool write, __u8 value)
{
	if (sigsetjmp(fuzz.jump, 1))
		return false;
	if (write)
		dm_poke(addr, value);
	else
		dm_peek(addr);
	return true;
}

static inline void fuzz_touch(const struct fuzz_op *op)
{
	size_t len, i;
	char *addr;

	len = fuzz_clip(op, &addr);
	fuzz_fail(true);
	for (i = 0; i < len; i += dm_page_size())
		if (!fuzz_touch_page(addr + i, op->nr & 1, op->value))
			break;
	fuzz_fail(false);
}

static inline void fuzz_evict(const struct fuzz_op *op)
{
	char path[64], text[16];

	snprintf(path, sizeof(path), "/sys/kernel/debug/dmirror/dmirror%u/evict",
		 op->slot & 3);
	snprintf(text, sizeof(text), "%u", op->value << 12);
	dm_file_write(path, text);
}

static inline void fuzz_step(const struct fuzz_op *op)
{
	size_t len;
	char *addr;

	switch (op->what % FUZZ_WHATS) {
	case FUZZ_OPEN:
		return fuzz_open(op);
	case FUZZ_CLOSE:
		return fuzz_close(op);
	case FUZZ_OWN:
	case FUZZ_OWN_TOO:
		return fuzz_own_ioctl(op);
	case FUZZ_HMM:
	case FUZZ_HMM_TOO:
		return fuzz_hmm_ioctl(op);
	case FUZZ_MAP:
		return fuzz_map(op);
	case FUZZ_UNMAP:
		len = fuzz_clip(op, &addr);
		munmap(addr, len);
		return;
	case FUZZ_PROTECT:
		len = fuzz_clip(op, &addr);
		mprotect(addr, len, op->value & (PROT_READ | PROT_WRITE));
		return;
	case FUZZ_ADVISE:
		return fuzz_advise(op);
	case FUZZ_MOVE:
		return fuzz_move(op);
	case FUZZ_TOUCH:
		return fuzz_touch(op);
	case FUZZ_EVICT:
		return fuzz_evict(op);
	case FUZZ_FAIL:
		fuzz.fail = 1 + op->value % 64;
		return;
	}
}

/* A child does the first few of the steps, and the parent does them all. */
static inline pid_t fuzz_fork(const struct fuzz_op *ops, size_t nr)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	fuzz.child = true;
	for (; nr; ops++, nr--)
		if (ops->what % FUZZ_WHATS != FUZZ_FORK)
			fuzz_step(ops);
	_exit(0);
}

/* Both signals and the kernel's fault injection, once for a process */
static inline void fuzz_init(void)
{
	struct sigaction action = { .sa_handler = fuzz_caught };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	fuzz.can_fail = !dm_nth_setup();
}

/* Memory with two huge pages and some small ones, and two files to begin with */
static inline void fuzz_begin(void)
{
	int prot = PROT_READ | PROT_WRITE;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	size_t page = dm_page_size(), i;

	FUZZ_ASSERT(mmap(FUZZ_EDGE, page, prot, flags, -1, 0) == FUZZ_EDGE);
	FUZZ_ASSERT(mmap(FUZZ_WINDOW, FUZZ_LEN, prot, flags, -1, 0) ==
		    FUZZ_WINDOW);
	madvise(FUZZ_WINDOW + DM_HUGE, DM_HUGE, MADV_NOHUGEPAGE);
	FUZZ_WINDOW[0] = 1;
	for (i = 0; i < 16; i++)
		FUZZ_WINDOW[DM_HUGE + i * page] = i;
	for (i = 0; i < FUZZ_SLOTS; i++)
		fuzz.fds[i] = -1;
	fuzz.fds[0] = dm_open_number(0);
	fuzz.fds[1] = hmm_open(0);
	fuzz.eventfd = eventfd(0, EFD_CLOEXEC);
	fuzz.fail = 0;
}

/* Bytes of their memory that the devices have given away */
static inline long long fuzz_used(void)
{
	long long used = 0;
	unsigned int i;

	for (i = 0; i < 4; i++)
		used += dm_counter(i, "memory_used");
	return used;
}

/* With the memory and the files, all of the devices' memory has to go. */
static inline void fuzz_end(long long used)
{
	size_t i;

	for (i = 0; i < FUZZ_SLOTS; i++) {
		if (fuzz.fds[i] < 0)
			continue;
		hmm_clear_flags(fuzz.fds[i]);
		close(fuzz.fds[i]);
	}
	close(fuzz.eventfd);
	munmap(FUZZ_WINDOW, FUZZ_LEN);
	munmap(FUZZ_EDGE, dm_page_size());
	FUZZ_ASSERT(fuzz_used() == used);
}

/* Pairs of hexadecimal digits; returns how many bytes they are. */
static inline size_t fuzz_bytes(const char *hex, __u8 *bytes)
{
	size_t nr;

	for (nr = 0; nr < FUZZ_OPS * sizeof(struct fuzz_op); nr++)
		if (sscanf(hex + 2 * nr, "%2hhx", &bytes[nr]) != 1)
			break;
	return nr;
}

/* Runs the sequence that the bytes are; @input is what it is called. */
static inline void fuzz_run(const char *input, const void *bytes, size_t size)
{
	size_t nr = size / sizeof(struct fuzz_op), i, some;
	struct fuzz_op ops[FUZZ_OPS];
	long long used = fuzz_used();
	pid_t pid = 0;

	if (nr > FUZZ_OPS)
		nr = FUZZ_OPS;
	memcpy(ops, bytes, nr * sizeof(*ops));
	fuzz.input = input;
	fuzz_begin();
	for (i = 0; i < nr; i++) {
		if (ops[i].what % FUZZ_WHATS != FUZZ_FORK) {
			fuzz_step(&ops[i]);
		} else if (!pid) {
			some = nr - i - 1 < 4 ? nr - i - 1 : 4;
			pid = fuzz_fork(&ops[i + 1], some);
			/* Before this process does them, or at the same time */
			if (pid > 0 && ops[i].nr & 1) {
				waitpid(pid, NULL, 0);
				pid = 0;
			}
		}
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
	fuzz_end(used);
}

#endif
