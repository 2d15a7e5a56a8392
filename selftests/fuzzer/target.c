// SPDX-License-Identifier: GPL-2.0
/*
 * What libFuzzer calls: a sequence of calls, and what of the driver it reached,
 * which the kernel tells through kcov if the driver was built for that.
 */
#include <sys/mman.h>

#include "../dmirror_fuzz.h"
#include "seeds.h"
#include "corpus.h"

#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_DISABLE	_IO('c', 101)
#define KCOV_TRACE_PC	0

#define TRACE_LEN	262144
#define COUNTERS	65536
#define TEXT_MAX	1048576

/* libFuzzer takes any that change for progress. */
#pragma clang section bss = "__libfuzzer_extra_counters"
static __u8 counters[COUNTERS];
#pragma clang section bss = ""

static unsigned long *trace;
static unsigned long text;
static int kcov;
static bool seen[TEXT_MAX];
static unsigned long nr_seen, nr_runs;

/* By these names libFuzzer knows them. */
int initialize(int *argc, char ***argv) __asm__("LLVMFuzzerInitialize");
int run_one(const __u8 *data, size_t size) __asm__("LLVMFuzzerTestOneInput");

/* Where the driver is, so that the same line is the same number in every run */
static void find_text(void)
{
	FILE *f = fopen("/sys/module/dmirror/sections/.text", "r");

	if (f) {
		if (fscanf(f, "%lx", &text) != 1)
			text = 0;
		fclose(f);
	}
}

static void open_kcov(void)
{
	kcov = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (kcov < 0 || ioctl(kcov, KCOV_INIT_TRACE, TRACE_LEN)) {
		fprintf(stderr, "no kcov: %m\n");
		exit(1);
	}
	trace = mmap(NULL, TRACE_LEN * sizeof(*trace), PROT_READ | PROT_WRITE,
		     MAP_SHARED, kcov, 0);
	FUZZ_ASSERT(trace != MAP_FAILED);
}

static void report(void)
{
	printf("fuzz: %lu runs reached %lu places\n", nr_runs, nr_seen);
	fflush(stdout);
}

static void write_input(const char *dir, size_t nr, const void *data,
			size_t size)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%zu", dir, size ? "" : "empty", nr);
	f = fopen(path, "w");
	FUZZ_ASSERT(f && fwrite(data, 1, size, f) == size && !fclose(f));
}

/* What is committed is where it begins. */
static void write_inputs(const char *dir)
{
	__u8 bytes[FUZZ_OPS * sizeof(struct fuzz_op)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fuzz_seeds); i++)
		write_input(dir, i, fuzz_seeds[i].ops,
			    fuzz_seeds[i].nr * sizeof(struct fuzz_op));
	for (i = 0; i < ARRAY_SIZE(fuzz_corpus); i++)
		write_input(dir, 1000 + i, bytes,
			    fuzz_bytes(fuzz_corpus[i], bytes));
}

int initialize(int *argc, char ***argv)
{
	const char *dir = getenv("FUZZ_SEEDS");

	fuzz_init();
	find_text();
	open_kcov();
	atexit(report);
	if (dir)
		write_inputs(dir);
	return 0;
}

/*
 * What libFuzzer is to notice: each way from one place to the next, and how often.
 * Where the fewest inputs for all places are wanted: each place.
 */
static void count(unsigned long nr)
{
	unsigned long last = 0, pc, i;
	bool merge = getenv("FUZZ_MERGE");

	for (i = 1; i <= nr; i++) {
		pc = trace[i] - text;
		if (pc < TEXT_MAX && !seen[pc]) {
			seen[pc] = true;
			nr_seen++;
		}
		if (merge)
			counters[(pc >> 2) % COUNTERS] = 1;
		else
			counters[(pc ^ last << 5) * 0x9e3779b1 % COUNTERS]++;
		last = pc;
	}
}

/* Before it is run, the host is told: the kernel may not survive it. */
static void announce(const __u8 *data, size_t size)
{
	char line[2 * FUZZ_OPS * sizeof(struct fuzz_op) + 16] = "input ";
	size_t used = 6, i;

	for (i = 0; i < size && used < sizeof(line) - 3; i++)
		used += sprintf(line + used, "%02x", data[i]);
	line[used++] = '\n';
	FUZZ_ASSERT(write(5, line, used) == (ssize_t)used);
}

int run_one(const __u8 *data, size_t size)
{
	announce(data, size);
	FUZZ_ASSERT(!ioctl(kcov, KCOV_ENABLE, KCOV_TRACE_PC));
	__atomic_store_n(&trace[0], 0, __ATOMIC_RELAXED);
	fuzz_run("this input", data, size);
	FUZZ_ASSERT(!ioctl(kcov, KCOV_DISABLE, 0));
	count(__atomic_load_n(&trace[0], __ATOMIC_RELAXED));
	nr_runs++;
	return 0;
}
