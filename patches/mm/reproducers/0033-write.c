// SPDX-License-Identifier: GPL-2.0
/*
 * As 0033-stale.c, of shared memory, and one thread writes to the first page all the
 * time. The one with priority has userfaultfd protect that page: from then on nothing
 * may be written to it.
 */
#include <linux/userfaultfd.h>
#include <semaphore.h>
#include <sys/syscall.h>

#include "reproducer.h"

#define SIZES	"/sys/kernel/mm/transparent_hugepage/hugepages-"
#define ROUNDS	400
#define LARGE	0x10000

static char *mem;
static int uffd;
static sem_t migrating, protected;
static unsigned long written;
static unsigned int escaped;
static bool stop;

static unsigned long writes(void)
{
	return __atomic_load_n(&written, __ATOMIC_SEQ_CST);
}

static void protect_page(char *p, __u64 mode)
{
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)p, dm_page_size() },
		.mode = mode,
	};

	DM_CHECK(!ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
}

static void *protect(void *arg)
{
	unsigned int round;
	unsigned long n;
	double end;

	take_priority();
	for (round = 0; round < ROUNDS; round++) {
		DM_CHECK(!sem_wait(&migrating));
		any_moment(50, 3000);
		protect_page(mem, UFFDIO_WRITEPROTECT_MODE_WP);
		n = writes();
		end = dm_now() + 0.005;
		while (dm_now() < end)
			;
		/* One may be written, but not counted yet. */
		escaped += writes() - n > 1;
		DM_CHECK(!sem_post(&protected));
	}
	return NULL;
}

static void *keep_writing(void *arg)
{
	char *p;

	run_on_cpu(1);
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		p = __atomic_load_n(&mem, __ATOMIC_SEQ_CST);
		if (p)
			dm_poke(p, written);
		__atomic_add_fetch(&written, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* The last of it is a large folio. */
static char *shared_memory(void)
{
	char *p = dm_map_flags(DM_HUGE, -1, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS);
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, DM_HUGE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	DM_CHECK(p && !ioctl(uffd, UFFDIO_REGISTER, &reg));
	DM_CHECK(!dm_file_write(SIZES "64kB/shmem_enabled", "never"));
	dm_fill(p, DM_HUGE - LARGE, SEED);
	DM_CHECK(!dm_file_write(SIZES "64kB/shmem_enabled", "always"));
	dm_fill(p + DM_HUGE - LARGE, LARGE, SEED);
	return p;
}

int main(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	char *buf = malloc(DM_HUGE), *p;
	int fd = device(PRIVATE), round;
	pthread_t writer, protector;
	unsigned long n;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	DM_CHECK(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api));
	DM_CHECK(buf && !sem_init(&migrating, 0, 0) && !sem_init(&protected, 0, 0));
	DM_CHECK(!pthread_create(&writer, NULL, keep_writing, NULL));
	run_on_cpu(0);
	DM_CHECK(!pthread_create(&protector, NULL, protect, NULL));
	for (round = 0; round < ROUNDS; round++) {
		p = shared_memory();
		__atomic_store_n(&mem, p, __ATOMIC_SEQ_CST);
		dm_msleep(2);
		DM_CHECK(!sem_post(&migrating));
		hmm_call(fd, HMM_TO_DEV, p, buf, npages(DM_HUGE), NULL);
		DM_CHECK(!sem_wait(&protected));
		__atomic_store_n(&mem, NULL, __ATOMIC_SEQ_CST);
		protect_page(p, 0);
		/* The writer is done with it. */
		n = writes();
		while (writes() < n + 2)
			dm_msleep(1);
		munmap(p, DM_HUGE);
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(protector, NULL);
	pthread_join(writer, NULL);
	fprintf(stderr, "# writes escaped in %u of %u\n", escaped, ROUNDS);
	return escaped > 0;
}
