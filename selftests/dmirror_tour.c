// SPDX-License-Identifier: GPL-2.0
/*
 * A tour of the driver: a program's memory goes to a device and comes back,
 * and at every step one sees where each page is. Ends with 0 if every byte of
 * it was right at every step.
 */
#include "dmirror_test.h"

#define PAGES	128
#define SEED	0x70

static struct dm dm;
static struct dmirror_query last;
static char *small, *large;
static unsigned int step, wrong;

static void title(const char *text)
{
	printf("\n%u. %s\n", ++step, text);
}

static void check(const char *what, bool right)
{
	wrong += !right;
	printf("   %s %s\n", right ? "[ok]   " : "[WRONG]", what);
}

static char letter(const struct dmirror_page *p)
{
	if (p->flags & DMIRROR_PAGE_EXCLUSIVE)
		return 'X';
	switch (p->place) {
	case DMIRROR_PLACE_SYSTEM:
		return p->flags & DMIRROR_PAGE_WRITE ? 'S' : 's';
	case DMIRROR_PLACE_ZERO:
		return '0';
	case DMIRROR_PLACE_LOCAL:
		return p->flags & DMIRROR_PAGE_WRITE ? 'D' : 'd';
	case DMIRROR_PLACE_REMOTE:
		return 'R';
	}
	return '.';
}

/* A character for every @unit pages: '*' where they differ */
static void map(const char *what, const char *mem, size_t len, size_t unit)
{
	size_t n = len / dm.page, i, j;
	struct dmirror_page *pages = calloc(n, sizeof(*pages));
	char line[65];

	if (!pages || dm_snapshot(dm.fd, mem, len, pages)) {
		check("a snapshot", false);
		free(pages);
		return;
	}
	for (i = 0; i < n; i += unit) {
		char c = letter(&pages[i]);

		for (j = 1; j < unit; j++)
			if (letter(&pages[i + j]) != c)
				c = '*';
		line[i / unit % 64] = c;
		if (i / unit % 64 == 63) {
			line[64] = 0;
			printf("   %-8s %s\n", i / unit < 64 ? what : "", line);
		}
	}
	free(pages);
}

static void maps(void)
{
	map("pages", small, PAGES * dm.page, 1);
	if (large)
		map("2 MiB", large, DM_HUGE, 8);
}

static void show_counters(void)
{
	struct dmirror_query q;

	if (dm_query(dm.fd, &q)) {
		check("the counters", false);
		return;
	}
	printf("   to device %llu KiB, back %llu KiB, CPU faults %llu, device faults %llu,\n",
	       (q.to_device - last.to_device) >> 10,
	       (q.to_system - last.to_system) >> 10,
	       q.cpu_faults - last.cpu_faults,
	       q.device_faults - last.device_faults);
	printf("   invalidations %llu; device memory in use: %llu KiB\n",
	       q.invalidations - last.invalidations, q.memory_used >> 10);
	last = q;
}

static bool intact(size_t seed)
{
	return !dm_bad(small, PAGES * dm.page, seed) &&
	       (!large || !dm_bad(large, DM_HUGE, seed + 1));
}

/* The device doubles a vector: word i of @mem becomes its sum with itself */
static bool compute(char *mem, size_t words)
{
	struct dmirror_atomic a;
	size_t i;

	for (i = 0; i < words; i++) {
		__u64 value = i + 1;

		if (dm_atomic(dm.fd, DMIRROR_ATOMIC_ADD, mem + 8 * i, 8, value,
			      0, &a) || a.result != value)
			return false;
	}
	return true;
}

static void tour_fork(void)
{
	__u64 *word = dm_shared();
	size_t len = PAGES * dm.page;
	char *buf = malloc(len);
	pid_t pid;

	if (!word || !buf) {
		check("memory for the fork", false);
		return;
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(dm.device);
		bool right;

		/* A quarter with the CPU, a quarter with the device. */
		dm_fill_from(small, len / 4, SEED + 20, 0);
		dm_fill_from(buf, len / 4, SEED + 20, PAGES / 4);
		right = fd >= 0 && !dm_write(fd, small + len / 4, buf, len / 4);
		right = right && !dm_bad(small, len / 2, SEED + 20) &&
			!dm_bad_from(small + len / 2, len / 2, SEED, PAGES / 2);
		dm_poke(word, 1);
		_exit(!right);
	}
	dm_await(word, 1);
	maps();
	check("the child has what it wrote, by CPU and by device",
	      !dm_wait(pid));
	check("the parent's memory is as it was", intact(SEED));
	munmap(word, dm.page);
	free(buf);
}

static int start(void)
{
	struct dm_backing backing = { DMIRROR_MEMORY_PRIVATE, false };

	dm_setup(&dm, &backing);
	if (dm.device < 0) {
		fprintf(stderr,
			"There is no /dev/dmirror0, or no right to open it: is the driver loaded?\n");
		return 1;
	}
	last = dm.query;
	small = dm_map(&dm, PAGES * dm.page);
	if (!small) {
		perror("mmap");
		return 1;
	}
	dm_fill(small, PAGES * dm.page, SEED);
	dm.backing.thp = true;
	large = dm_alloc(&dm, DM_HUGE, SEED + 1);
	if (large && dm_thp_kib(large) < 2048) {
		munmap(large, DM_HUGE);
		large = NULL;
	}
	return 0;
}

int main(void)
{
	size_t len;
	__u64 value = 0;
	char *buf;

	if (start())
		return 1;
	len = PAGES * dm.page;
	buf = malloc(DM_HUGE);
	if (!buf)
		return 1;

	printf("dmirror%d has %llu MiB of private memory, ", dm.device,
	       dm.query.memory_size >> 20);
	printf("which the CPU cannot address.\n");
	printf("A huge page moves %s.\n",
	       dm.query.capabilities & DMIRROR_CAP_LARGE_FOLIO ?
	       "in one piece" : "page by page on this kernel");
	printf("\nMaps: %d pages of %zu bytes, a character each;", PAGES,
	       dm.page);
	printf(" %s\n", large ? "a huge page of 2 MiB, eight pages a" :
	       "no huge page is to be had.");
	if (large)
		printf("character.\n");
	printf("   S system memory   D on the device   R on another device   0 zero page\n");
	printf("   s d the same, read-only   X held exclusively   . nothing   * mixed\n");

	title("The program allocates memory and writes to it.");
	maps();
	check("every byte", intact(SEED));

	title("It is migrated to the device.");
	check("all of it moved", !dm_to_device(dm.fd, small, len) &&
	      (!large || !dm_to_device(dm.fd, large, DM_HUGE)));
	maps();
	check("the device reads every byte right",
	      !dm_read(dm.fd, small, buf, len) && !dm_bad(buf, len, SEED));
	if (large)
		check("of the huge page too",
		      !dm_read(dm.fd, large, buf, DM_HUGE) &&
		      !dm_bad(buf, DM_HUGE, SEED + 1));
	show_counters();

	title("The CPU reads every fourth page, which fetches those pages back.");
	for (value = 0; value < PAGES; value += 4)
		dm_peek(small + value * dm.page);
	if (large)
		dm_peek(large);
	maps();
	check("every byte, which brings back the rest", intact(SEED));
	maps();
	show_counters();

	title("A child is born while the memory is on the device, and writes.");
	check("to the device again", !dm_to_device(dm.fd, small, len) &&
	      (!large || !dm_to_device(dm.fd, large, DM_HUGE)));
	tour_fork();
	show_counters();

	title("The device computes on memory that is half here, half there.");
	for (value = 0; value < 512; value++)
		dm_poke(small + 8 * value, value + 1);
	check("half to the device", !dm_to_device(dm.fd, small + len / 2,
						  len / 2));
	maps();
	check("512 atomic additions to system memory", compute(small, 512));
	map("pages", small, len, 1);
	check("a copy by the device, from here to there",
	      !dm_copy(dm.fd, small + len / 2, small, 4096));
	for (value = 0; value < 512; value++)
		if (dm_peek(small + 8 * value) != 2 * (value + 1) ||
		    dm_peek(small + len / 2 + 8 * value) != 2 * (value + 1))
			break;
	check("the CPU finds the sums in both places", value == 512);
	show_counters();

	title("Read-only memory stays read-only for the device.");
	dm_fill(small, len, SEED);
	check("to the device again", !dm_to_device(dm.fd, small, len));
	mprotect(small, len / 4, PROT_READ);
	maps();
	check("a device write to it is refused",
	      dm_write64(dm.fd, small, 0) == -EPERM);
	mprotect(small, len / 4, PROT_READ | PROT_WRITE);
	check("every byte", intact(SEED));
	show_counters();

	title("Memory that was never touched moves too: as zeros.");
	check("to the device again", !dm_to_device(dm.fd, small, len));
	madvise(small, len / 2, MADV_DONTNEED);
	dm_peek(small);
	maps();
	check("holes to the device", !dm_to_device(dm.fd, small, len));
	maps();
	check("the first half is zeros, the other as it was",
	      dm_zero(small, len / 2) &&
	      !dm_bad_from(small + len / 2, len / 2, SEED, PAGES / 2));
	show_counters();

	title("All of it there once more, and back by one call.");
	check("there", !dm_to_device(dm.fd, small, len) &&
	      (!large || !dm_to_device(dm.fd, large, DM_HUGE)));
	maps();
	check("back", !dm_to_system(dm.fd, small, len) &&
	      (!large || !dm_to_system(dm.fd, large, DM_HUGE)));
	maps();
	munmap(small, len);
	if (large)
		munmap(large, DM_HUGE);
	show_counters();
	close(dm.fd);

	printf("\n%s\n", wrong ? "Something was WRONG: see above." :
	       "Every byte was right at every step.");
	return wrong != 0;
}
