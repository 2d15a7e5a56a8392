/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of memory whose contents can go share: advice, eviction on demand,
 * and accesses that may end in SIGBUS.
 */
#ifndef SELFTESTS_DMIRROR_ADVICE_H
#define SELFTESTS_DMIRROR_ADVICE_H

#include <setjmp.h>
#include <signal.h>

#include "dmirror_load.h"

static inline int dm_advise(int fd, const void *addr, size_t len,
			    unsigned int advice, struct dmirror_advise *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	out->advice = advice;
	out->addr = (uintptr_t)addr;
	out->length = len;
	return dm_call(fd, DMIRROR_IOC_ADVISE, out);
}

/* All of it is on the device, and purgeable from now on */
static inline int dm_dontneed(int fd, const void *addr, size_t len)
{
	struct dmirror_advise a;
	int ret = dm_advise(fd, addr, len, DMIRROR_ADVICE_DONTNEED, &a);

	if (!ret && a.applied != len)
		ret = -EAGAIN;
	if (ret)
		fprintf(stderr,
			"# not needed: %d: of %zu applied %llu shared %llu busy %llu untouched %llu\n",
			ret, len, a.applied, a.shared, a.busy, a.untouched);
	return ret;
}

/* The device evicts as if it needed room for so many bytes. */
static inline int dm_evict(unsigned int device, size_t len)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", len);
	return dm_file_write(dm_debugfs_path(device, "evict"), text);
}

/*
 * Accesses by the CPU that may end in SIGBUS; a thread at a time has one
 */

struct dm_trap {
	sigjmp_buf env;
	int code;		/* of the signal */
	uintptr_t addr;		/* and its address */
	int lsb;
	bool armed;
};

static __thread struct dm_trap dm_trap;

static inline void dm_trap_arm(bool armed)
{
	__atomic_store_n(&dm_trap.armed, armed, __ATOMIC_SEQ_CST);
}

static inline void dm_trap_handler(int sig, siginfo_t *info, void *context)
{
	if (!dm_trap.armed)
		_exit(128 + sig);
	dm_trap_arm(false);
	dm_trap.code = info->si_code;
	dm_trap.addr = (uintptr_t)info->si_addr;
	dm_trap.lsb = info->si_addr_lsb;
	siglongjmp(dm_trap.env, 1);
}

static inline int dm_trap_init(void)
{
	struct sigaction action = {
		.sa_sigaction = dm_trap_handler,
		.sa_flags = SA_SIGINFO,
	};

	return sigaction(SIGBUS, &action, NULL);
}

/* 0, or -EFAULT after SIGBUS, and then dm_trap says which */
static inline int dm_cpu_read(const void *addr, void *data, size_t len)
{
	dm_trap.code = 0;
	if (sigsetjmp(dm_trap.env, 1))
		return -EFAULT;
	dm_trap_arm(true);
	memcpy(data, addr, len);
	dm_trap_arm(false);
	return 0;
}

static inline int dm_cpu_write64(void *addr, __u64 value)
{
	dm_trap.code = 0;
	if (sigsetjmp(dm_trap.env, 1))
		return -EFAULT;
	dm_trap_arm(true);
	dm_poke(addr, value);
	dm_trap_arm(false);
	return 0;
}

/* How many pages of a range a CPU read answers with this signal code, 0 for none */
static inline size_t dm_count_code(const void *addr, size_t len, int code)
{
	size_t page = dm_page_size(), count = 0, at;
	__u64 value;

	for (at = 0; at < len; at += page) {
		dm_cpu_read((const char *)addr + at, &value, sizeof(value));
		count += dm_trap.code == code &&
			 (!code || (dm_trap.addr & ~(page - 1)) ==
				   (uintptr_t)addr + at);
	}
	return count;
}

#endif
