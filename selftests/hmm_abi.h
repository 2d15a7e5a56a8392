/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The numbers of the ABI that lib/test_hmm.c speaks, as far as the tests of it
 * need them: they are the same on every kernel, so that one program tests all.
 */
#ifndef SELFTESTS_DMIRROR_HMM_ABI_H
#define SELFTESTS_DMIRROR_HMM_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct hmm_cmd {
	__u64 addr;
	__u64 ptr;
	__u64 npages;
	__u64 cpages;
	__u64 faults;
};

#define HMM_IOC(nr)		_IOWR('H', nr, struct hmm_cmd)
#define HMM_READ		HMM_IOC(0)
#define HMM_WRITE		HMM_IOC(1)
#define HMM_TO_DEV		HMM_IOC(2)
#define HMM_TO_SYS		HMM_IOC(3)
#define HMM_SNAPSHOT		HMM_IOC(4)
#define HMM_EXCLUSIVE		HMM_IOC(5)
#define HMM_CHECK_EXCLUSIVE	HMM_IOC(6)
#define HMM_RELEASE		HMM_IOC(7)
#define HMM_FLAGS		HMM_IOC(8)

/* HMM_FLAGS: the next allocation of a page fails, once */
#define HMM_FLAG_FAIL_ALLOC	1

/* What HMM_SNAPSHOT answers, a byte a page */
#define HMM_PROT_ERROR		0xff
#define HMM_PROT_NONE		0x00
#define HMM_PROT_READ		0x01
#define HMM_PROT_WRITE		0x02
#define HMM_PROT_PMD		0x04
#define HMM_PROT_ZERO		0x10
#define HMM_PROT_PRIVATE_LOCAL	0x20
#define HMM_PROT_PRIVATE_REMOTE	0x30
#define HMM_PROT_COHERENT_LOCAL	0x40
#define HMM_PROT_COHERENT_REMOTE 0x50

/* The bits of such a byte that say where the page is */
#define HMM_PROT_PLACE		0xf0

#endif
