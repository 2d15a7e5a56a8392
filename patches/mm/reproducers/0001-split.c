// SPDX-License-Identifier: GPL-2.0
/*
 * Two threads migrate a huge page that is mapped by PTEs. One does so again and
 * again, of one page of it, and in vain, as the huge page is held. The other has
 * priority on the same CPU: it comes in between wherever that is, gives up what
 * held the page and has it split. If the first has just found the page to be huge
 * it must notice.
 */
#include <sys/uio.h>

#include "reproducer.h"

#define ROUNDS	500

static char *mem;
static bool stop;
static int fd;

static void *migrate_a_page(void *arg)
{
	char *buf = malloc(dm_page_size());

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		hmm_call(fd, HMM_TO_DEV, __atomic_load_n(&mem, __ATOMIC_ACQUIRE),
			 buf, 1, NULL);
	free(buf);
	return NULL;
}

/* A huge page, mapped by PTEs; held as long as its last page is in the pipe */
static char *hold_huge(int pipe[2])
{
	char *p = dm_map_flags(DM_HUGE, MADV_HUGEPAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS);
	struct iovec last = { p + DM_HUGE - dm_page_size(), dm_page_size() };

	DM_CHECK(p);
	dm_poke(p, SEED);
	split_pmd(p);
	DM_CHECK(vmsplice(pipe[1], &last, 1, 0) == (ssize_t)dm_page_size());
	return p;
}

int main(void)
{
	char *buf = malloc(DM_HUGE), *held;
	pthread_t thread;
	int pipe_fd[2], round;

	fd = device(PRIVATE);
	DM_CHECK(!pipe(pipe_fd));
	run_on_cpu(0);
	DM_CHECK(!pthread_create(&thread, NULL, migrate_a_page, NULL));
	take_priority();
	for (round = 0; round < ROUNDS; round++) {
		held = hold_huge(pipe_fd);
		__atomic_store_n(&mem, held, __ATOMIC_RELEASE);
		any_moment(200, 600);
		DM_CHECK(read(pipe_fd[0], buf, dm_page_size()) > 0);
		hmm_call(fd, HMM_TO_DEV, held, buf, npages(DM_HUGE), NULL);
		dm_msleep(1);
		DM_CHECK(dm_peek(held) == SEED);
		munmap(held, DM_HUGE);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	return 0;
}
