// SPDX-License-Identifier: GPL-2.0
/* A program with a huge page on the device dumps core. */
#include <linux/elf.h>
#include <sys/resource.h>

#include "reproducer.h"

#define CORE	"/tmp/core"

static void dump(__u64 *at)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	char *mem = memory(DM_HUGE, true);
	int fd = device(PRIVATE);

	DM_CHECK(!setrlimit(RLIMIT_CORE, &all));
	DM_CHECK(!to_device(fd, mem, DM_HUGE));
	dm_poke(at, (uintptr_t)mem);
	abort();
}

/* Where the file has an address; 0 if it does not */
static __u64 file_offset(int file, __u64 addr)
{
	struct elf64_hdr head;
	struct elf64_phdr part;
	unsigned int i;

	DM_CHECK(pread(file, &head, sizeof(head), 0) == sizeof(head));
	for (i = 0; i < head.e_phnum; i++) {
		DM_CHECK(pread(file, &part, sizeof(part),
			       head.e_phoff + i * sizeof(part)) == sizeof(part));
		if (part.p_type == PT_LOAD && addr >= part.p_vaddr &&
		    addr - part.p_vaddr < part.p_filesz)
			return part.p_offset + addr - part.p_vaddr;
	}
	return 0;
}

int main(void)
{
	__u64 *at = dm_shared(), offset;
	char *buf = malloc(DM_HUGE);
	pid_t pid;
	int file;

	DM_CHECK(!dm_file_write("/proc/sys/kernel/core_pattern", CORE));
	pid = fork();
	if (!pid)
		dump(at);
	DM_CHECK(dm_wait(pid) == -SIGABRT);
	file = open(CORE, O_RDONLY);
	DM_CHECK(file >= 0);
	offset = file_offset(file, dm_peek(at));
	DM_CHECK(offset);
	DM_CHECK(pread(file, buf, DM_HUGE, offset) == DM_HUGE);
	DM_CHECK(!dm_bad(buf, DM_HUGE, SEED));
	return 0;
}
