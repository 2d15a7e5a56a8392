// SPDX-License-Identifier: GPL-2.0
/*
 * A library to preload. A thread of it keeps migrating the anonymous memory of the
 * process that it is in, to devices and back, and lets devices read and write it,
 * while the program runs and is to notice nothing. What a device reads has to be what
 * the CPU reads.
 *
 *	LD_PRELOAD=/path/to/bounce.so BOUNCE_LOG=log program argument...
 *
 *	BOUNCE_MEMORY	"private" or "coherent": only devices with such memory
 *	BOUNCE_SEED	a number, from which all that is random comes
 *	BOUNCE_PAUSE	a number: for how long to leave the program alone after each
 *			step, in times of what the step took; 1 unless given
 *	BOUNCE_LOG	a file, where each process has a line with what was done to it
 *
 * The first round is over before the program begins, or before its fork() returns
 * in the child, so that no process is too short to have its memory moved.
 *
 * The thread has a table of open files to itself: the program's descriptors have the
 * numbers that they always have, the program can close them all, and none is held
 * open here. It calls nothing that allocates, since malloc() may be the program's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/dmirror.h>

#define MAX_DEVICES	16
#define MAX_RUN		512		/* pages that a step is about, at most */
#define STACK_SIZE	(256 << 10)
#define WORDS		512		/* that are compared at a time */
#define LINE		200		/* of the log: they are written in place */

/* What the environment says */
static struct {
	unsigned int memory_type;	/* 0 is any */
	unsigned long seed;
	unsigned long pause;
	char log[256];			/* programs write over these in their stack */
	char program[32];
} config;

/* Of the thread alone, and as new in a child */
static struct {
	int devices[MAX_DEVICES];
	unsigned int nr_devices;
	int maps;
	int log;
	off_t line;
	__u64 random;
	unsigned long rounds;
	unsigned long long to_device;
	unsigned long long to_system;
	unsigned long long read;
	unsigned long long atomics;
	unsigned long long errors;
	int error;			/* the last of them */
} state;

struct word {
	unsigned int nr;
	__u64 device;
	__u64 cpu;
};

static size_t page_size;
static unsigned long forks;		/* that this process has begun */
static sem_t first_round;

static unsigned long random_below(unsigned long n)
{
	state.random = state.random * 6364136223846793005ULL + 1;
	return (state.random >> 33) % n;
}

/*
 * The program may unmap, protect or change anything under way, fill up the device by
 * its children, and exit; all else is wrong.
 */
static int call(int fd, unsigned long request, void *arg)
{
	if (!ioctl(fd, request, arg))
		return 0;
	switch (errno) {
	case EFAULT:
	case EPERM:
	case EBUSY:
	case ENOSPC:
	case EINTR:
		break;
	default:
		state.errors++;
		state.error = errno;
	}
	return -1;
}

static unsigned long long migrate(int fd, uintptr_t addr, size_t len,
				  unsigned int target)
{
	struct dmirror_migrate m = {
		.size = sizeof(m),
		.target = target,
		.addr = addr,
		.length = len,
	};

	call(fd, DMIRROR_IOC_MIGRATE, &m);
	return m.moved;
}

static bool device_sees(int fd, uintptr_t addr, __u64 *words)
{
	struct dmirror_rw rw = {
		.size = sizeof(rw),
		.addr = addr,
		.length = WORDS * sizeof(*words),
		.data = (uintptr_t)words,
	};

	if (call(fd, DMIRROR_IOC_READ, &rw))
		return false;
	state.read += rw.done;
	return true;
}

/* Unlike a load, this has an answer where the program has just unmapped its memory. */
static bool cpu_sees(uintptr_t addr, __u64 *words)
{
	struct iovec to = { words, WORDS * sizeof(*words) };
	struct iovec from = { (void *)addr, to.iov_len };

	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) ==
	       (ssize_t)to.iov_len;
}

/* A word that the device saw before and after the CPU saw another value there */
static bool differs(int fd, uintptr_t addr, struct word *word)
{
	static __u64 before[WORDS], cpu[WORDS], after[WORDS];
	unsigned int i;

	if (!device_sees(fd, addr, before) || !cpu_sees(addr, cpu) ||
	    !device_sees(fd, addr, after))
		return false;
	for (i = 0; i < WORDS; i++) {
		if (before[i] != after[i] || before[i] == cpu[i])
			continue;
		*word = (struct word) { i, before[i], cpu[i] };
		return true;
	}
	return false;
}

/*
 * The device has to see what the CPU sees. The program may write to the memory at any
 * time, and may write back what was there: then it does not do so each time.
 */
static void device_read(int fd, uintptr_t addr, size_t len)
{
	struct word first, next;
	unsigned int i;

	addr += random_below(len / page_size) * page_size;
	/* The stack of this thread is other in each system call. */
	if (addr - (uintptr_t)&first + STACK_SIZE < 2 * STACK_SIZE)
		return;
	if (!differs(fd, addr, &first))
		return;
	for (i = 0; i < 8; i++)
		if (!differs(fd, addr, &next) || next.nr != first.nr ||
		    next.device != first.device || next.cpu != first.cpu)
			return;
	state.errors++;
	state.error = EILSEQ;
}

/* The one write that nobody notices, whatever the program does to the memory just now */
static void device_write(int fd, uintptr_t addr, size_t len)
{
	struct dmirror_atomic a = {
		.size = sizeof(a),
		.op = DMIRROR_ATOMIC_ADD,
		.addr = addr + random_below(len / 8) * 8,
		.width = 8,
	};

	if (!call(fd, DMIRROR_IOC_ATOMIC, &a))
		state.atomics++;
}

/* What the program has not touched stays untouched, or its stacks alone would fill memory. */
static bool has_pages(int fd, uintptr_t addr, size_t len)
{
	static struct dmirror_page pages[MAX_RUN];
	struct dmirror_snapshot s = {
		.size = sizeof(s),
		.addr = addr,
		.length = len,
		.pages = (uintptr_t)pages,
	};

	if (call(fd, DMIRROR_IOC_SNAPSHOT, &s))
		return false;
	while (s.done--)
		if (pages[s.done].place != DMIRROR_PLACE_HOLE)
			return true;
	return false;
}

static void step(uintptr_t addr, size_t len)
{
	int fd = state.devices[random_below(state.nr_devices)];
	unsigned int what = state.rounds ? random_below(8) : 0;

	if (!has_pages(fd, addr, len))
		return;
	if (what < 4)
		state.to_device += migrate(fd, addr, len, DMIRROR_TARGET_DEVICE);
	else if (what < 6)
		state.to_system += migrate(fd, addr, len, DMIRROR_TARGET_SYSTEM);
	else if (what < 7)
		device_read(fd, addr, len);
	else
		device_write(fd, addr, len);
}

static void leave_alone(const struct timespec *since)
{
	struct timespec t;
	__u64 ns;

	clock_gettime(CLOCK_MONOTONIC, &t);
	ns = (t.tv_sec - since->tv_sec) * 1000000000ULL + t.tv_nsec - since->tv_nsec;
	ns *= config.pause;
	t.tv_sec = ns / 1000000000;
	t.tv_nsec = ns % 1000000000;
	nanosleep(&t, NULL);
}

static void bounce_mapping(uintptr_t start, uintptr_t end)
{
	struct timespec since;
	size_t len;

	for (; start < end; start += len) {
		len = (1 + random_below(MAX_RUN)) * page_size;
		if (len > end - start)
			len = end - start;
		clock_gettime(CLOCK_MONOTONIC, &since);
		step(start, len);
		if (state.rounds)
			leave_alone(&since);
	}
}

/* A line of /proc/self/maps: private memory that is not a file's, or that is written to */
static void bounce_line(const char *line)
{
	unsigned long start, end, inode;
	char rights[5];

	if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &start, &end, rights,
		   &inode) == 4 &&
	    rights[0] == 'r' && rights[3] == 'p' &&
	    (rights[1] == 'w' || !inode))
		bounce_mapping(start, end);
}

static void bounce_all(void)
{
	static char text[8 << 10];
	size_t have = 0;
	char *line, *end;
	ssize_t got;

	lseek(state.maps, 0, SEEK_SET);
	while ((got = read(state.maps, text + have, sizeof(text) - 1 - have)) > 0) {
		have += got;
		text[have] = 0;
		for (line = text; (end = strchr(line, '\n')); line = end + 1)
			bounce_line(line);
		have -= line - text;
		memmove(text, line, have);
	}
	state.rounds++;
}

static void write_log(void)
{
	char line[LINE + 1];
	int len;

	len = snprintf(line, LINE,
		       "%d %s: seed %lu devices %u rounds %lu to_device %llu to_system %llu read %llu atomics %llu errors %llu errno %d",
		       getpid(), config.program, config.seed,
		       state.nr_devices, state.rounds, state.to_device,
		       state.to_system, state.read, state.atomics, state.errors,
		       state.error);
	if (len > LINE - 1)
		len = LINE - 1;
	memset(line + len, ' ', LINE - len);
	line[LINE - 1] = '\n';
	if (state.log >= 0 && pwrite(state.log, line, LINE, state.line) != LINE)
		state.log = -1;
}

/* Takes a line at the end: appending is atomic. Writing to a place of it is another file. */
static void open_log(void)
{
	char line[LINE];
	int fd;

	state.log = -1;
	if (!*config.log)
		return;
	memset(line, ' ', LINE - 1);
	line[LINE - 1] = '\n';
	fd = open(config.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return;
	if (write(fd, line, LINE) == LINE) {
		state.line = lseek(fd, 0, SEEK_CUR) - LINE;
		state.log = open(config.log, O_WRONLY | O_CLOEXEC);
	}
	close(fd);
}

static void open_devices(void)
{
	struct dmirror_query q;
	char path[32];
	int fd, i;

	for (i = 0; i < MAX_DEVICES; i++) {
		snprintf(path, sizeof(path), "/dev/dmirror%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		memset(&q, 0, sizeof(q));
		q.size = sizeof(q);
		if (!call(fd, DMIRROR_IOC_QUERY, &q) &&
		    (!config.memory_type || q.memory_type == config.memory_type))
			state.devices[state.nr_devices++] = fd;
		else
			close(fd);
	}
}

static void *bounce(void *unused)
{
	bool ready;

	prctl(PR_SET_NAME, "bounce");
	/* From here on its files are its own. */
	if (close_range(0, ~0U, CLOSE_RANGE_UNSHARE)) {
		sem_post(&first_round);
		return NULL;
	}
	open_log();
	open_devices();
	state.maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ready = state.maps >= 0 && state.nr_devices;
	if (ready)
		bounce_all();
	write_log();
	sem_post(&first_round);
	while (ready) {
		bounce_all();
		write_log();
	}
	return NULL;
}

/* Signals are the program's: the thread inherits that they are blocked. */
static void start(void)
{
	sigset_t all, before;
	int error = errno;
	pthread_attr_t attr;
	pthread_t thread;

	memset(&state, 0, sizeof(state));
	state.random = config.seed;
	random_below(1);
	sem_init(&first_round, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (!pthread_create(&thread, &attr, bounce, NULL))
		while (sem_wait(&first_round))
			;
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
}

static void before_fork(void)
{
	forks++;
}

/* The parent's files mirror the parent's memory, and its thread is not here. */
static void in_child(void)
{
	config.seed = config.seed * 31 + forks;
	forks = 0;
	start();
}

static unsigned long number(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

__attribute__((constructor))
static void begin(void)
{
	const char *memory = getenv("BOUNCE_MEMORY");
	const char *log = getenv("BOUNCE_LOG");

	if (memory)
		config.memory_type = strcmp(memory, "private") ?
			DMIRROR_MEMORY_COHERENT : DMIRROR_MEMORY_PRIVATE;
	config.seed = number("BOUNCE_SEED", 1);
	config.pause = number("BOUNCE_PAUSE", 1);
	snprintf(config.log, sizeof(config.log), "%s", log ? log : "");
	snprintf(config.program, sizeof(config.program), "%s",
		 program_invocation_short_name);
	page_size = sysconf(_SC_PAGESIZE);
	start();
	/*
	 * Handlers in the child are called in the order in which they were registered. The
	 * program's malloc(), which pthread_create() calls, has registered its own by now.
	 */
	pthread_atfork(before_fork, NULL, in_child);
}
