/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * dmirror - a device that mirrors a process's address space
 *
 * The ABI of /dev/dmirror0 and up. Opening a node makes the device mirror the
 * address space of the opening process, until the last close.
 */
#ifndef _UAPI_LINUX_DMIRROR_H
#define _UAPI_LINUX_DMIRROR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: ioctls
 *
 * Addresses and lengths are in bytes. A structure starts with its own size,
 * so that it can grow: bytes that an older program does not have read as zero,
 * and bytes that an older driver does not know must be zero. Fields called
 * ``reserved`` must be zero. What fields marked "out" hold before the call does
 * not matter: the driver overwrites them. Outputs are written back
 * whether the call succeeds or fails, unless it fails with -ENOTTY, -E2BIG,
 * -EXDEV, -ESRCH, because the size is too small, or because the structure itself
 * cannot be read or written.
 *
 * Number 0x08 is not in use. What the ioctls answer:
 *
 * =========== ===============================================================
 * 0           Done. Of a migration: the whole range was looked at; the fields
 *             say what moved and what did not.
 * -ENOTTY     No such ioctl.
 * -EINVAL     The size is smaller than the first version of the structure, a
 *             reserved field or an unknown flag is set, a value is out of its
 *             range, an address is not aligned as the field asks, the length
 *             is zero, the ranges of a copy overlap.
 * -E2BIG      The structure has fields set that this driver does not know, or is
 *             larger than a page.
 * -EOVERFLOW  Address plus length does not fit, or is above the address space.
 * -EFAULT     A pointer given to the ioctl cannot be read or written, or the
 *             mirrored range has an address with nothing mapped or no right
 *             to read, or one that userfaultfd is to fill in or has made
 *             read-only; then ``fault_addr`` says which.
 * -EPERM      The device was to write to memory that the program may not
 *             write to; ``fault_addr`` says where.
 * -EXDEV      The file was opened by another process: it mirrors that one's
 *             address space. Open the node again.
 * -ESRCH      The process that opened the file has exited, or has started another
 *             program since.
 * -ENOSPC     Device memory is full; what did not fit stayed where it was. Of
 *             advice: the file has too many ranges.
 * -ENOMEM     The system has no memory; what did not fit stayed on the device.
 * -EIO        Some pages could not be copied, and stayed where they were: the
 *             device's copy engine failed, and they have their contents; or a
 *             memory error had hit them.
 * -ENODEV     The device is unplugged, or was since the file was opened: it will
 *             not work again, a new one may. What the call had done before is
 *             in its outputs; if it had not begun, they are as they were given.
 *             Memory that was on the device is in system memory, with its
 *             contents. Opening a node answers this while there is no device.
 * -ENODATA    The device was to use memory whose contents it has dropped, and
 *             DMIRROR_ADVICE_WILLNEED was not said; ``fault_addr`` says where.
 * -EHWPOISON  The device was to use memory of its own that a memory error has hit;
 *             ``fault_addr`` says where. Of both, what was on another device
 *             without an interconnect answers -EFAULT.
 * -EOPNOTSUPP The device cannot do that.
 * -EBUSY      DMIRROR_IOC_SUBMIT: the file has too many jobs. DMIRROR_IOC_ADVISE:
 *             somebody holds part of the memory.
 * -EBADF      DMIRROR_IOC_SUBMIT: the descriptor is not of an eventfd.
 * -ENOENT     DMIRROR_IOC_WAIT: there is no such job, or it was waited for before,
 *             or is just now.
 * -EAGAIN     DMIRROR_IOC_WAIT: the job is not complete, and the program did not
 *             want to wait.
 * -ECANCELED  No ioctl answers this: struct dmirror_wait says so of a job that was
 *             under way when the device was unplugged.
 * -EINTR      A fatal signal is pending. DMIRROR_IOC_WAIT and opening a node
 *             answer so for any signal, unless that restarts system calls.
 * =========== ===============================================================
 */

/**
 * define DMIRROR_IOC_MAGIC - the type of all ioctls
 */
#define DMIRROR_IOC_MAGIC	0xDE

/**
 * define DMIRROR_ABI_VERSION - the version that struct dmirror_query answers
 */
#define DMIRROR_ABI_VERSION	1

/**
 * enum dmirror_memory_type - what kind of memory the device has
 * @DMIRROR_MEMORY_PRIVATE: MEMORY_DEVICE_PRIVATE, the CPU cannot address it
 * @DMIRROR_MEMORY_COHERENT: MEMORY_DEVICE_COHERENT, the CPU can
 */
enum dmirror_memory_type {
	DMIRROR_MEMORY_PRIVATE	= 1,
	DMIRROR_MEMORY_COHERENT	= 2,
};

/**
 * enum dmirror_capability - bits of the capabilities field
 * @DMIRROR_CAP_MIGRATE: DMIRROR_IOC_MIGRATE works in both directions
 * @DMIRROR_CAP_ATOMIC: DMIRROR_IOC_ATOMIC works on device and system memory
 * @DMIRROR_CAP_JOBS: DMIRROR_IOC_SUBMIT and DMIRROR_IOC_WAIT work
 * @DMIRROR_CAP_LARGE_FOLIO: a transparent huge page can migrate as one
 *	folio; without it the same calls move it page by page
 * @DMIRROR_CAP_PURGE: memory that the program does not need can be dropped, see
 *	DMIRROR_ADVICE_DONTNEED
 */
enum dmirror_capability {
	DMIRROR_CAP_MIGRATE	= 1 << 0,
	DMIRROR_CAP_ATOMIC	= 1 << 1,
	DMIRROR_CAP_LARGE_FOLIO	= 1 << 2,
	DMIRROR_CAP_JOBS	= 1 << 3,
	DMIRROR_CAP_PURGE	= 1 << 4,
};

/**
 * struct dmirror_query - what the device is and what it has done
 * @size: sizeof(struct dmirror_query)
 * @version: out, DMIRROR_ABI_VERSION of the driver
 * @capabilities: out, bits of enum dmirror_capability
 * @device: out, the number of the device, as in the name of its node
 * @memory_type: out, one of enum dmirror_memory_type
 * @memory_size: out, size of the device's memory in bytes
 * @memory_used: out, bytes of it that are allocated
 * @page_size: out, the smallest unit of migration in bytes
 * @large_page_size: out, the largest, equal to @page_size without
 *	DMIRROR_CAP_LARGE_FOLIO
 * @to_device: out, bytes migrated to the device since it was made
 * @to_system: out, bytes that the driver migrated from it to system memory, for any
 *	reason; what leaves it otherwise is freed, or goes to another device
 * @cpu_faults: out, CPU faults on device memory
 * @device_faults: out, faults of the device on mirrored memory, in batches
 * @invalidations: out, mmu notifier callbacks
 * @evicted: out, bytes of @to_system that went by eviction
 * @copy_errors: out, copies that the device's engine failed
 * @refaults: out, bytes of @to_device that had been evicted before, an estimate
 * @purged: out, bytes of purgeable memory that were dropped
 * @poisoned: out, bytes of the device's memory that memory errors have hit, in pages:
 *	they are not used again
 */
struct dmirror_query {
	__u32 size;
	__u32 version;
	__aligned_u64 capabilities;
	__u32 device;
	__u32 memory_type;
	__aligned_u64 memory_size;
	__aligned_u64 memory_used;
	__aligned_u64 page_size;
	__aligned_u64 large_page_size;
	__aligned_u64 to_device;
	__aligned_u64 to_system;
	__aligned_u64 cpu_faults;
	__aligned_u64 device_faults;
	__aligned_u64 invalidations;
	__aligned_u64 evicted;
	__aligned_u64 copy_errors;
	__aligned_u64 refaults;
	__aligned_u64 purged;
	__aligned_u64 poisoned;
};

/**
 * enum dmirror_target - where memory is to be
 * @DMIRROR_TARGET_SYSTEM: in system memory
 * @DMIRROR_TARGET_DEVICE: in the memory of the device whose node is open
 * @DMIRROR_TARGET_STAY: where it is: mm collects the pages and puts them back,
 *	which counts as @resident in struct dmirror_migrate. What it cannot collect,
 *	also because it is another device's or not yet read from a file, is @busy. What that
 *	takes is the least that a migration of the range can take
 */
enum dmirror_target {
	DMIRROR_TARGET_SYSTEM	= 1,
	DMIRROR_TARGET_DEVICE	= 2,
	DMIRROR_TARGET_STAY	= 3,
};

/**
 * struct dmirror_migrate - migrate a range of the mirrored address space
 * @size: sizeof(struct dmirror_migrate)
 * @target: one of enum dmirror_target
 * @addr: first byte, a multiple of the page size
 * @length: in bytes, a multiple of the page size
 * @moved: out, bytes that this call moved to the target. To the device, holes
 *	of anonymous memory count: they become zero-filled device memory
 * @resident: out, bytes that were at the target already, or, to system memory,
 *	that are not on this device; or of which there is nothing to move, since
 *	their contents were dropped
 * @no_memory: out, bytes that stayed because the target had no memory
 * @busy: out, bytes that stayed because somebody holds, moves or changes them
 *	just now: pinned, locked, guarded, swapped out, had exclusively (but once this
 *	file has had memory exclusively, these two come to memory first when they are to
 *	go to the device); on Linux 6.12 and older also transparent huge pages that are
 *	mapped page by page
 * @unsupported: out, bytes that never migrate: shared mappings, hugetlb, device
 *	mappings; to the device also pages of files, memory that KSM may merge, and
 *	what has not been written to yet of a mapping that userfaultfd
 *	write-protects
 * @failed: out, bytes that stayed because the device could not copy them, or a memory
 *	error has hit them
 * @fault_addr: out, the address that -EFAULT is about
 *
 * The six counts add up to what was looked at: @length if the call succeeds.
 * Contents never change, but by a memory error. The call goes on when
 * part of the range cannot move and, at the end of the range, answers -ENOSPC
 * or -ENOMEM if @no_memory is not zero, or else -EIO if @failed is not.
 */
struct dmirror_migrate {
	__u32 size;
	__u32 target;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 moved;
	__aligned_u64 resident;
	__aligned_u64 no_memory;
	__aligned_u64 busy;
	__aligned_u64 unsupported;
	__aligned_u64 failed;
	__aligned_u64 fault_addr;
};

/**
 * struct dmirror_rw - the device reads or writes mirrored memory
 * @size: sizeof(struct dmirror_rw)
 * @reserved: zero
 * @addr: first byte of the mirrored memory
 * @length: in bytes
 * @data: pointer to @length bytes in the caller's memory, which a read fills
 *	and a write takes its data from
 * @done: out, bytes transferred
 * @fault_addr: out, the address that an error is about
 * @faults: out, how many times the device had to have memory faulted in
 */
struct dmirror_rw {
	__u32 size;
	__u32 reserved;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 data;
	__aligned_u64 done;
	__aligned_u64 fault_addr;
	__aligned_u64 faults;
};

/**
 * struct dmirror_fill - the device fills mirrored memory with a pattern
 * @size: sizeof(struct dmirror_fill)
 * @reserved: zero
 * @addr: first byte, a multiple of 8
 * @length: in bytes, a multiple of 8
 * @pattern: the eight bytes to repeat
 * @done: out, bytes filled
 * @fault_addr: out, the address that an error is about
 * @faults: out, how many times the device had to have memory faulted in
 */
struct dmirror_fill {
	__u32 size;
	__u32 reserved;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 pattern;
	__aligned_u64 done;
	__aligned_u64 fault_addr;
	__aligned_u64 faults;
};

/**
 * struct dmirror_copy - the device copies within the mirrored address space
 * @size: sizeof(struct dmirror_copy)
 * @reserved: zero
 * @dst: first byte to write
 * @src: first byte to read; the two ranges must not overlap, nor should they
 *	map the same shared memory: what is copied then is undefined
 * @length: in bytes
 * @done: out, bytes copied
 * @fault_addr: out, the address that an error is about
 * @faults: out, how many times the device had to have memory faulted in
 */
struct dmirror_copy {
	__u32 size;
	__u32 reserved;
	__aligned_u64 dst;
	__aligned_u64 src;
	__aligned_u64 length;
	__aligned_u64 done;
	__aligned_u64 fault_addr;
	__aligned_u64 faults;
};

/**
 * enum dmirror_atomic_op - what the device does atomically
 * @DMIRROR_ATOMIC_ADD: add the operand
 * @DMIRROR_ATOMIC_CAS: store the operand if the memory equals compare
 */
enum dmirror_atomic_op {
	DMIRROR_ATOMIC_ADD	= 1,
	DMIRROR_ATOMIC_CAS	= 2,
};

/**
 * enum dmirror_atomic_flag - how the device came by an atomic operation
 * @DMIRROR_ATOMIC_LOCAL: on its own memory
 * @DMIRROR_ATOMIC_EXCLUSIVE: on system memory, by device-exclusive access
 * @DMIRROR_ATOMIC_BUS: on system memory that cannot be had exclusively, by an
 *	atomic operation over the bus: memory that is not anonymous, that
 *	somebody holds, coherent memory of another device and, before Linux 6.15,
 *	transparent huge pages that are mapped page by page
 */
enum dmirror_atomic_flag {
	DMIRROR_ATOMIC_LOCAL		= 1 << 0,
	DMIRROR_ATOMIC_EXCLUSIVE	= 1 << 1,
	DMIRROR_ATOMIC_BUS		= 1 << 2,
};

/**
 * struct dmirror_atomic - the device does one atomic operation
 * @size: sizeof(struct dmirror_atomic)
 * @op: one of enum dmirror_atomic_op
 * @addr: of the operand in mirrored memory, a multiple of @width
 * @width: 4 or 8 bytes
 * @flags: out, one of enum dmirror_atomic_flag
 * @operand: what to add or to store
 * @compare: what the memory must hold for DMIRROR_ATOMIC_CAS to store; must be
 *	zero for DMIRROR_ATOMIC_ADD
 * @result: out, what the memory held before
 * @fault_addr: out, the address that an error is about
 *
 * With a @width of 4, @operand and @compare must fit in 32 bits.
 */
struct dmirror_atomic {
	__u32 size;
	__u32 op;
	__aligned_u64 addr;
	__u32 width;
	__u32 flags;
	__aligned_u64 operand;
	__aligned_u64 compare;
	__aligned_u64 result;
	__aligned_u64 fault_addr;
};

/**
 * enum dmirror_place - where a page is
 * @DMIRROR_PLACE_HOLE: nowhere that can be seen: nothing mapped, not yet touched,
 *	swapped out, on its way, or had exclusively, through another file or
 *	through this one before it was asked to migrate
 * @DMIRROR_PLACE_SYSTEM: in system memory
 * @DMIRROR_PLACE_ZERO: the zero page, which only reads use
 * @DMIRROR_PLACE_LOCAL: in the memory of the device whose node is open
 * @DMIRROR_PLACE_REMOTE: another device of this driver has it, or had it: whether
 *	its contents were dropped there or lost, only that device's node tells
 * @DMIRROR_PLACE_DROPPED: nowhere: it was purgeable, and its contents were dropped
 * @DMIRROR_PLACE_POISONED: nowhere: a memory error has hit the device's page
 */
enum dmirror_place {
	DMIRROR_PLACE_HOLE	= 0,
	DMIRROR_PLACE_SYSTEM	= 1,
	DMIRROR_PLACE_ZERO	= 2,
	DMIRROR_PLACE_LOCAL	= 3,
	DMIRROR_PLACE_REMOTE	= 4,
	DMIRROR_PLACE_DROPPED	= 5,
	DMIRROR_PLACE_POISONED	= 6,
};

/**
 * enum dmirror_page_flag - what holds for a page
 * @DMIRROR_PAGE_READ: the program may read it
 * @DMIRROR_PAGE_WRITE: and write to it without a further fault
 * @DMIRROR_PAGE_MAPPED: the device's page table maps it now
 * @DMIRROR_PAGE_EXCLUSIVE: the device has exclusive access to it
 * @DMIRROR_PAGE_DENIED: no mapping, or one that may not be read
 */
enum dmirror_page_flag {
	DMIRROR_PAGE_READ	= 1 << 0,
	DMIRROR_PAGE_WRITE	= 1 << 1,
	DMIRROR_PAGE_MAPPED	= 1 << 2,
	DMIRROR_PAGE_EXCLUSIVE	= 1 << 3,
	DMIRROR_PAGE_DENIED	= 1 << 4,
};

/**
 * struct dmirror_page - one page in a snapshot
 * @place: one of enum dmirror_place
 * @flags: bits of enum dmirror_page_flag
 * @order: log2 of the number of pages that the CPU's page table maps by the
 *	entry that maps this one
 * @device: the number of the device for DMIRROR_PLACE_LOCAL, _REMOTE, _DROPPED
 *	and _POISONED
 */
struct dmirror_page {
	__u8 place;
	__u8 flags;
	__u8 order;
	__u8 device;
};

/**
 * struct dmirror_snapshot - where every page of a range is
 * @size: sizeof(struct dmirror_snapshot)
 * @reserved: zero
 * @addr: first byte, a multiple of the page size
 * @length: in bytes, a multiple of the page size
 * @pages: pointer to one struct dmirror_page a page
 * @done: out, pages written
 *
 * Nothing is faulted in. Each page's answer was true at some moment during the
 * call.
 */
struct dmirror_snapshot {
	__u32 size;
	__u32 reserved;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 pages;
	__aligned_u64 done;
};

/**
 * enum dmirror_job_op - what is done in the background
 * @DMIRROR_JOB_FILL: as DMIRROR_IOC_FILL; the argument is the pattern
 * @DMIRROR_JOB_COPY: as DMIRROR_IOC_COPY; the argument is the source address
 * @DMIRROR_JOB_MIGRATE: as DMIRROR_IOC_MIGRATE, which is a prefetch; the
 *	argument is one of enum dmirror_target
 */
enum dmirror_job_op {
	DMIRROR_JOB_FILL	= 1,
	DMIRROR_JOB_COPY	= 2,
	DMIRROR_JOB_MIGRATE	= 3,
};

/**
 * struct dmirror_submit - have something done in the background
 * @size: sizeof(struct dmirror_submit)
 * @op: one of enum dmirror_job_op
 * @addr: first byte, aligned as the operation asks
 * @length: in bytes, aligned likewise
 * @argument: of the operation
 * @eventfd: an eventfd to signal when the job is complete, or -1
 * @reserved: zero
 * @job: out, the number of the job, for DMIRROR_IOC_WAIT
 *
 * Jobs of a file run at the same time and in any order. A file has up to 64
 * that nobody has waited for; then the answer is -EBUSY. A descriptor that is
 * not of an eventfd is -EBADF. If @job cannot be written back, the job is
 * cancelled or, if it is a migration, waited for, and forgotten. Closing the
 * file cancels its jobs; if the process exits they end with -ESRCH.
 */
struct dmirror_submit {
	__u32 size;
	__u32 op;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 argument;
	__s32 eventfd;
	__u32 reserved;
	__aligned_u64 job;
};

/**
 * enum dmirror_wait_flag - how to wait
 * @DMIRROR_WAIT_POLL: not at all: -EAGAIN says that the job is not complete
 */
enum dmirror_wait_flag {
	DMIRROR_WAIT_POLL	= 1 << 0,
};

/**
 * struct dmirror_wait - wait for a job, and learn what came of it
 * @size: sizeof(struct dmirror_wait)
 * @flags: bits of enum dmirror_wait_flag
 * @job: the number of the job
 * @error: out, 0 or the error, as a positive number, with which the ioctl that
 *	does the same at once would have ended; ECANCELED if the device was
 *	unplugged
 * @faults: out, how many times memory of the job had to be faulted in
 * @done: out, bytes filled, copied or moved
 * @stayed: out, of a migration, bytes that did not move and were not at the
 *	target already
 * @fault_addr: out, the address that @error is about
 *
 * A job can be waited for once; then, as for a number that never was one, the
 * answer is -ENOENT. Any signal interrupts the wait. When the device is unplugged,
 * the jobs that there are can still be waited for; the answer for any other
 * number is -ENODEV.
 */
struct dmirror_wait {
	__u32 size;
	__u32 flags;
	__aligned_u64 job;
	__u32 error;
	__u32 faults;
	__aligned_u64 done;
	__aligned_u64 fault_addr;
	__aligned_u64 stayed;
};

/**
 * enum dmirror_advice - what a program says about its memory
 * @DMIRROR_ADVICE_DONTNEED: it could do without the contents. Where the memory is
 *	on the device it is purgeable from now on: if there is no room for other
 *	memory, its contents are dropped instead of copied to system memory
 * @DMIRROR_ADVICE_WILLNEED: it needs the contents again, if they are still there.
 *	What was dropped reads as zeroes from now on
 * @DMIRROR_ADVICE_READ_MOSTLY: it is going to read them, by the CPU and devices:
 *	-EOPNOTSUPP, since mm has no way to keep a second copy of a page
 * @DMIRROR_ADVICE_PREFER_DEVICE: when a job or an ioctl for access, but for
 *	DMIRROR_IOC_ATOMIC, faults on it, it is to come to the device, with the
 *	window around it: device_fault_window, or else a huge page
 * @DMIRROR_ADVICE_PREFER_SYSTEM: the device is to use it where it is
 * @DMIRROR_ADVICE_PREFER_NONE: what the module's parameter device_fault_window says
 *	is right again
 *
 * The last three say where memory is to be. They move nothing at once, and bind
 * nobody: DMIRROR_IOC_MIGRATE, a CPU's fault and eviction do as ever. They are about
 * addresses, whatever is mapped there now or later, and about the file's own device,
 * until something else is said or the file is closed. A file has up to 1024 ranges of
 * them; then the answer is -ENOSPC. The rest is about the other advice.
 *
 * Between the moment at which contents are dropped and DMIRROR_ADVICE_WILLNEED an
 * access is an error: SIGBUS for the CPU, -ENODATA for the device that dropped them
 * and those on one interconnect with it, -EFAULT for another. Until then, and as
 * long as nothing wants the room, purgeable memory reads and writes like any other,
 * and each access sees either all of it or an error.
 *
 * That advice is on memory, not on addresses. It lasts until the memory is unmapped,
 * or moves: to system memory, as when the CPU touches private memory, or to another
 * device. So there is nothing to say about memory that is not on the device now; it
 * is as if it were needed.
 *
 * Processes share the memory that fork has not yet copied, and with it its state.
 * What may be shared cannot be said to be not needed. What was said before the fork
 * holds for both, until one of them says that the memory is needed; that one is
 * told whether it was dropped.
 */
enum dmirror_advice {
	DMIRROR_ADVICE_DONTNEED		= 1,
	DMIRROR_ADVICE_WILLNEED		= 2,
	DMIRROR_ADVICE_READ_MOSTLY	= 3,
	DMIRROR_ADVICE_PREFER_DEVICE	= 4,
	DMIRROR_ADVICE_PREFER_SYSTEM	= 5,
	DMIRROR_ADVICE_PREFER_NONE	= 6,
};

/**
 * struct dmirror_advise - say something about a range of memory
 * @size: sizeof(struct dmirror_advise)
 * @advice: one of enum dmirror_advice
 * @addr: first byte, a multiple of the page size
 * @length: in bytes, a multiple of the page size
 * @retained: out, 1 if no contents in the range had been dropped. For
 *	DMIRROR_ADVICE_WILLNEED, and only if the call succeeds
 * @reserved: zero
 * @applied: out, bytes to which the advice applies now
 * @dropped: out, bytes of @applied whose contents had been dropped. Each is
 *	reported once
 * @shared: out, bytes that another process may have too, and that therefore are
 *	needed as before
 * @busy: out, bytes that could not be had, because somebody holds them or, of what is
 *	needed, because another device has them, coherent or dropped: say it to a file
 *	of that device
 * @untouched: out, bytes that are neither on the device nor on one that is on an
 *	interconnect with it
 * @fault_addr: out, the address that -EFAULT is about
 *
 * The counts without @dropped add up to what was looked at, which is @length unless
 * there was an error other than -EBUSY. That is the answer if @busy is not zero: then
 * ask again, or do without. A device without DMIRROR_CAP_PURGE answers
 * DMIRROR_ADVICE_DONTNEED with -EOPNOTSUPP.
 *
 * To be sure that nothing of it can be dropped any more, DMIRROR_ADVICE_WILLNEED has
 * memory come to where it can be looked at, if it is in neither system memory nor
 * this device's: what was swapped out, what another device has as private memory,
 * what a device has exclusively.
 */
struct dmirror_advise {
	__u32 size;
	__u32 advice;
	__aligned_u64 addr;
	__aligned_u64 length;
	__u32 retained;
	__u32 reserved;
	__aligned_u64 applied;
	__aligned_u64 dropped;
	__aligned_u64 shared;
	__aligned_u64 busy;
	__aligned_u64 untouched;
	__aligned_u64 fault_addr;
};

/**
 * define DMIRROR_IOC_QUERY - what the device is and what it has done
 *
 * Takes struct dmirror_query.
 */
#define DMIRROR_IOC_QUERY	_IOWR(DMIRROR_IOC_MAGIC, 0x00, struct dmirror_query)

/**
 * define DMIRROR_IOC_MIGRATE - migrate a range to the device or to system memory
 *
 * Takes struct dmirror_migrate.
 */
#define DMIRROR_IOC_MIGRATE	_IOWR(DMIRROR_IOC_MAGIC, 0x01, struct dmirror_migrate)

/**
 * define DMIRROR_IOC_READ - the device reads mirrored memory into a buffer
 *
 * Takes struct dmirror_rw.
 */
#define DMIRROR_IOC_READ	_IOWR(DMIRROR_IOC_MAGIC, 0x02, struct dmirror_rw)

/**
 * define DMIRROR_IOC_WRITE - the device writes a buffer to mirrored memory
 *
 * Takes struct dmirror_rw.
 */
#define DMIRROR_IOC_WRITE	_IOWR(DMIRROR_IOC_MAGIC, 0x03, struct dmirror_rw)

/**
 * define DMIRROR_IOC_FILL - the device fills mirrored memory with a pattern
 *
 * Takes struct dmirror_fill.
 */
#define DMIRROR_IOC_FILL	_IOWR(DMIRROR_IOC_MAGIC, 0x04, struct dmirror_fill)

/**
 * define DMIRROR_IOC_COPY - the device copies within the mirrored address space
 *
 * Takes struct dmirror_copy.
 */
#define DMIRROR_IOC_COPY	_IOWR(DMIRROR_IOC_MAGIC, 0x05, struct dmirror_copy)

/**
 * define DMIRROR_IOC_ATOMIC - the device does one atomic operation
 *
 * Takes struct dmirror_atomic.
 */
#define DMIRROR_IOC_ATOMIC	_IOWR(DMIRROR_IOC_MAGIC, 0x06, struct dmirror_atomic)

/**
 * define DMIRROR_IOC_SNAPSHOT - where every page of a range is
 *
 * Takes struct dmirror_snapshot.
 */
#define DMIRROR_IOC_SNAPSHOT	_IOWR(DMIRROR_IOC_MAGIC, 0x07, struct dmirror_snapshot)

/**
 * define DMIRROR_IOC_SUBMIT - have one of enum dmirror_job_op done in the background
 *
 * Takes struct dmirror_submit.
 */
#define DMIRROR_IOC_SUBMIT	_IOWR(DMIRROR_IOC_MAGIC, 0x09, struct dmirror_submit)

/**
 * define DMIRROR_IOC_WAIT - wait for a job, and learn what came of it
 *
 * Takes struct dmirror_wait.
 */
#define DMIRROR_IOC_WAIT	_IOWR(DMIRROR_IOC_MAGIC, 0x0a, struct dmirror_wait)

/**
 * define DMIRROR_IOC_ADVISE - say one of enum dmirror_advice about a range
 *
 * Takes struct dmirror_advise.
 */
#define DMIRROR_IOC_ADVISE	_IOWR(DMIRROR_IOC_MAGIC, 0x0b, struct dmirror_advise)

#endif /* _UAPI_LINUX_DMIRROR_H */
