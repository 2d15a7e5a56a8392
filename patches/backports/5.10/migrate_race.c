// SPDX-License-Identifier: GPL-2.0
/*
 * Two files of lib/test_hmm.c migrate one range, each from its own end: they
 * never wait for each other, a call that says it moved pages has moved them,
 * no page is lost, and none keeps a lock or a reference that would hold it
 * afterwards. Over the ABI of 5.10, for a kernel with or without the patches.
 *
 * test_hmm has races of its own, which are not what is asked here. It frees what
 * it reads when the CPU takes a page back meanwhile, and so the CPU touches
 * nothing while anybody migrates. Nor do two threads fault on one page: 5.10
 * calls migrate_to_ram() without a reference to it.
 */
#include "kselftest_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/test_hmm_uapi.h"

#define ROUNDS	40
#define CHUNK	16UL			/* pages a call */
#define CHUNKS	16UL
#define NPAGES	(CHUNK * CHUNKS)
#define PAGE	4096UL
#define LEN	(NPAGES * PAGE)

/* The bits of a snapshot's byte that say where the page is */
#define PLACE	0x30

/* What both sides share, also where they are two processes */
struct shared {
	pthread_barrier_t barrier;
	/* of each side: what went wrong, where, and in which round */
	unsigned int errors[2];
	char first[2][96];
	/* of each side: pages on its device, calls that got less than all */
	unsigned long moved[2];
	unsigned long beaten[2];
};

struct side {
	struct shared *shared;
	unsigned int number;
	unsigned int device;
	/* new content each round; pages that fork has shared keep theirs */
	bool rewrite;
	unsigned int round;
	char *mem;
	char *buf;
	int fd;
};

FIXTURE(race)
{
	struct shared *shared;
	struct side sides[2];
};

FIXTURE_VARIANT(race)
{
	unsigned int devices[2];
	bool fork;
};

FIXTURE_VARIANT_ADD(race, threads_one_device)
{
	.devices = { 0, 0 },
};

FIXTURE_VARIANT_ADD(race, threads_two_devices)
{
	.devices = { 0, 1 },
};

/* The pages are mapped twice, since fork, and have other mappings to replace */
FIXTURE_VARIANT_ADD(race, processes_one_device)
{
	.devices = { 0, 0 },
	.fork = true,
};

FIXTURE_VARIANT_ADD(race, processes_two_devices)
{
	.devices = { 0, 1 },
	.fork = true,
};

static void *map(size_t len, int flags)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_ANONYMOUS | flags, -1, 0);
}

FIXTURE_SETUP(race)
{
	pthread_barrierattr_t attr;
	unsigned int i;
	char *mem;

	self->shared = map(sizeof(*self->shared), MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->shared);
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	ASSERT_EQ(0, pthread_barrier_init(&self->shared->barrier, &attr, 2));
	mem = map(LEN, MAP_PRIVATE);
	ASSERT_NE(MAP_FAILED, mem);
	/* khugepaged would bring back what it wants to make a huge page of. */
	madvise(mem, LEN, MADV_NOHUGEPAGE);
	for (i = 0; i < 2; i++) {
		self->sides[i] = (struct side) {
			.shared = self->shared,
			.number = i,
			.device = variant->devices[i],
			.rewrite = !variant->fork,
			.mem = mem,
			.buf = map(LEN, MAP_PRIVATE),
		};
		ASSERT_NE(MAP_FAILED, self->sides[i].buf);
	}
}

FIXTURE_TEARDOWN(race)
{
	munmap(self->sides[0].mem, LEN);
}

/* The file mirrors whoever opens it */
static int side_open(struct side *side)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/hmm_dmirror%u", side->device);
	side->fd = open(path, O_RDWR | O_CLOEXEC);
	return side->fd < 0 ? -errno : 0;
}

/* Goes on, so that the other side does not wait at the barrier for ever */
static void wrong(struct side *side, const char *what, unsigned long page)
{
	if (!side->shared->errors[side->number]++)
		snprintf(side->shared->first[side->number],
			 sizeof(side->shared->first[0]),
			 "side %u, round %u, page %lu: %s", side->number,
			 side->round, page, what);
}

static void meet(struct side *side)
{
	pthread_barrier_wait(&side->shared->barrier);
}

static void touch(const char *byte)
{
	__atomic_load_n(byte, __ATOMIC_RELAXED);
}

static __u64 pattern(unsigned int round, unsigned long word)
{
	return (round + 1) * 0x9e3779b97f4a7c15ULL ^ word * 0x100000001b3ULL;
}

static void fill(char *mem, unsigned int round)
{
	__u64 *words = (__u64 *)mem;
	unsigned long i;

	for (i = 0; i < LEN / sizeof(*words); i++)
		words[i] = pattern(round, i);
}

/* What @words, which are from page @page on, should be */
static void verify(struct side *side, const char *words, unsigned long page,
		   unsigned long npages, unsigned int round, const char *what)
{
	unsigned long first = page * PAGE / sizeof(__u64), i;

	for (i = 0; i < npages * PAGE / sizeof(__u64); i++) {
		if (((const __u64 *)words)[i] == pattern(round, first + i))
			continue;
		wrong(side, what, page + i * sizeof(__u64) / PAGE);
		return;
	}
}

static int command(struct side *side, unsigned long request,
		   unsigned long page, void *buf, unsigned long npages,
		   unsigned long *cpages)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)side->mem + page * PAGE,
		.ptr = (uintptr_t)buf,
		.npages = npages,
	};

	while (ioctl(side->fd, request, &cmd)) {
		if (errno != EINTR)
			return -errno;
	}
	*cpages = cmd.cpages;
	return 0;
}

/* Whether all of a chunk is on this side's device */
static bool chunk_local(struct side *side, unsigned long page)
{
	unsigned char bytes[CHUNK];
	unsigned long i, cpages, local = 0;

	if (command(side, HMM_DMIRROR_SNAPSHOT, page, bytes, CHUNK, &cpages)) {
		wrong(side, "no snapshot", page);
		return false;
	}
	for (i = 0; i < CHUNK; i++)
		local += (bytes[i] & PLACE) == HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL;
	side->shared->moved[side->number] += local;
	return local == CHUNK;
}

/*
 * One call: it moves the chunk and answers with what the device has of it, or
 * says ENOENT where a page is not in this file's table, as one that the other
 * side has moved or was moving.
 */
static bool chunk_move(struct side *side, unsigned long page,
		       unsigned int round)
{
	char *buf = side->buf + page * PAGE;
	unsigned long cpages = 0;
	int ret;

	ret = command(side, HMM_DMIRROR_MIGRATE, page, buf, CHUNK, &cpages);
	if (ret == -ENOENT) {
		side->shared->beaten[side->number]++;
		return false;
	}
	if (ret)
		wrong(side, strerror(-ret), page);
	else if (cpages != CHUNK)
		wrong(side, "cpages is not what was asked for", page);
	else
		verify(side, buf, page, CHUNK, round, "the device has it wrong");
	return !ret;
}

/* Side 0 from the first chunk on, side 1 from the last */
static unsigned long nth_chunk(const struct side *side, unsigned long n)
{
	return (side->number ? CHUNKS - 1 - n : n) * CHUNK;
}

static void move_all(struct side *side, unsigned int round)
{
	bool moved[CHUNKS];
	unsigned long n;

	meet(side);
	for (n = 0; n < CHUNKS; n++)
		moved[n] = chunk_move(side, nth_chunk(side, n), round);
	meet(side);
	for (n = 0; n < CHUNKS; n++) {
		if (!chunk_local(side, nth_chunk(side, n)) && moved[n])
			wrong(side, "moved, and not there",
			      nth_chunk(side, n));
	}
	meet(side);
}

/* Each side touches one half; then all is here, for both */
static void take_back(struct side *side, unsigned int round)
{
	unsigned long page = side->number * NPAGES / 2, i;

	for (i = 0; i < NPAGES / 2; i++)
		touch(side->mem + (page + i) * PAGE);
	meet(side);
	verify(side, side->mem, 0, NPAGES, round, "the CPU has it wrong");
	meet(side);
}

static void *run(void *arg)
{
	struct side *side = arg;
	unsigned int content = 0;

	for (side->round = 0; side->round < ROUNDS; side->round++) {
		if (side->rewrite) {
			content = side->round;
			if (!side->number)
				fill(side->mem, content);
		}
		meet(side);
		if (side->shared->errors[0] || side->shared->errors[1])
			break;
		move_all(side, content);
		take_back(side, content);
	}
	return NULL;
}

/* Nobody is in the way, and nothing is held any more: everything moves */
static void run_alone(struct side *side)
{
	unsigned int content = side->rewrite ? ROUNDS - 1 : 0;
	unsigned long n;

	for (n = 0; n < CHUNKS; n++) {
		if (!chunk_move(side, n * CHUNK, content) ||
		    !chunk_local(side, n * CHUNK))
			wrong(side, "alone, and it does not move", n * CHUNK);
	}
	for (n = 0; n < NPAGES; n++)
		touch(side->mem + n * PAGE);
	verify(side, side->mem, 0, NPAGES, content, "the CPU has it wrong");
}

/* The other side, in a thread or in a process: 0, or what stopped it */
static int run_both(struct side *sides, bool processes)
{
	pthread_t thread;
	int status = -1;
	pid_t pid;

	if (!processes) {
		if (side_open(&sides[1]) ||
		    pthread_create(&thread, NULL, run, &sides[1]))
			return -1;
		run(&sides[0]);
		return pthread_join(thread, NULL);
	}
	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		/* The parent would wait for a child that is not there. */
		if (side_open(&sides[1]))
			kill(getppid(), SIGKILL);
		run(&sides[1]);
		_exit(0);
	}
	run(&sides[0]);
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

TEST_F_TIMEOUT(race, migrate, 300)
{
	struct shared *shared = self->shared;
	struct side *sides = self->sides;

	ASSERT_EQ(0, side_open(&sides[0]));
	fill(sides[0].mem, 0);
	ASSERT_EQ(0, run_both(sides, variant->fork));
	ASSERT_EQ(0, shared->errors[0]) TH_LOG("%s", shared->first[0]);
	ASSERT_EQ(0, shared->errors[1]) TH_LOG("%s", shared->first[1]);
	TH_LOG("of %lu pages, on each device: %lu, %lu; of %lu calls, beaten: %lu, %lu",
	       ROUNDS * NPAGES, shared->moved[0], shared->moved[1],
	       ROUNDS * CHUNKS, shared->beaten[0], shared->beaten[1]);

	/* Both did something, and each was in the way of the other. */
	EXPECT_LT(0, shared->moved[0]);
	EXPECT_LT(0, shared->moved[1]);
	EXPECT_LT(0, shared->beaten[0] + shared->beaten[1]);

	run_alone(&sides[0]);
	EXPECT_EQ(0, shared->errors[0]) TH_LOG("%s", shared->first[0]);
	close(sides[0].fd);
}

TEST_HARNESS_MAIN
