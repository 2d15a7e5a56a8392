/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints. Times are in nanoseconds; npages, moved and the like are in pages.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dmirror

#if !defined(DMIRROR_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DMIRROR_TRACE_H

#include <linux/mm_types.h>
#include <linux/tracepoint.h>

/* A batch of mirrored memory was faulted in for the device. */
TRACE_EVENT(dmirror_fault,
	TP_PROTO(unsigned int dev, u64 addr, unsigned long npages, bool write,
		 int ret),
	TP_ARGS(dev, addr, npages, write, ret),
	TP_STRUCT__entry(
		__field(unsigned int, dev)
		__field(u64, addr)
		__field(unsigned long, npages)
		__field(bool, write)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->addr = addr;
		__entry->npages = npages;
		__entry->write = write;
		__entry->ret = ret;
	),
	TP_printk("dev=%u addr=%#llx npages=%lu %s ret=%d", __entry->dev,
		  __entry->addr, __entry->npages,
		  __entry->write ? "write" : "read", __entry->ret)
);

TRACE_DEFINE_ENUM(DMIRROR_TARGET_SYSTEM);
TRACE_DEFINE_ENUM(DMIRROR_TARGET_DEVICE);
TRACE_DEFINE_ENUM(DMIRROR_TARGET_STAY);

/*
 * A batch was migrated; the phases are those of the protocol in migrate.c. What engines
 * copy while the rest is planned is in no time of its own.
 */
TRACE_EVENT(dmirror_migrate,
	TP_PROTO(unsigned int dev, unsigned int target, u64 addr,
		 unsigned long npages, unsigned long moved, const u64 *ns),
	TP_ARGS(dev, target, addr, npages, moved, ns),
	TP_STRUCT__entry(
		__field(unsigned int, dev)
		__field(unsigned int, target)
		__field(u64, addr)
		__field(unsigned long, npages)
		__field(unsigned long, moved)
		__field(u64, setup)
		__field(u64, alloc)
		__field(u64, copy)
		__field(u64, pages)
		__field(u64, finalize)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->target = target;
		__entry->addr = addr;
		__entry->npages = npages;
		__entry->moved = moved;
		__entry->setup = ns[0];
		__entry->alloc = ns[1];
		__entry->copy = ns[2];
		__entry->pages = ns[3];
		__entry->finalize = ns[4];
	),
	TP_printk("dev=%u to=%s addr=%#llx npages=%lu moved=%lu setup=%llu alloc=%llu copy=%llu pages=%llu finalize=%llu",
		  __entry->dev,
		  __print_symbolic(__entry->target,
				   { DMIRROR_TARGET_SYSTEM, "system" },
				   { DMIRROR_TARGET_DEVICE, "device" },
				   { DMIRROR_TARGET_STAY, "stay" }),
		  __entry->addr, __entry->npages, __entry->moved,
		  __entry->setup, __entry->alloc, __entry->copy,
		  __entry->pages, __entry->finalize)
);

/* A copy engine completed a job. */
TRACE_EVENT(dmirror_copy,
	TP_PROTO(unsigned int dev, unsigned int engine, u64 seqno,
		 unsigned int segments, u64 bytes, unsigned int depth, u64 ns,
		 int error),
	TP_ARGS(dev, engine, seqno, segments, bytes, depth, ns, error),
	TP_STRUCT__entry(
		__field(unsigned int, dev)
		__field(unsigned int, engine)
		__field(u64, seqno)
		__field(unsigned int, segments)
		__field(u64, bytes)
		__field(unsigned int, depth)
		__field(u64, ns)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->engine = engine;
		__entry->seqno = seqno;
		__entry->segments = segments;
		__entry->bytes = bytes;
		__entry->depth = depth;
		__entry->ns = ns;
		__entry->error = error;
	),
	TP_printk("dev=%u engine=%u seqno=%llu segments=%u bytes=%llu depth=%u ns=%llu error=%d",
		  __entry->dev, __entry->engine, __entry->seqno,
		  __entry->segments, __entry->bytes, __entry->depth,
		  __entry->ns, __entry->error)
);

/* The notifier dropped what the device had mapped of a range. */
TRACE_EVENT(dmirror_invalidate,
	TP_PROTO(unsigned int dev, int event, u64 start, u64 end),
	TP_ARGS(dev, event, start, end),
	TP_STRUCT__entry(
		__field(unsigned int, dev)
		__field(int, event)
		__field(u64, start)
		__field(u64, end)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->event = event;
		__entry->start = start;
		__entry->end = end;
	),
	TP_printk("dev=%u event=%d start=%#llx end=%#llx", __entry->dev,
		  __entry->event, __entry->start, __entry->end)
);

DECLARE_EVENT_CLASS(dmirror_block,
	TP_PROTO(unsigned int dev, unsigned long block, unsigned long npages,
		 unsigned long moved),
	TP_ARGS(dev, block, npages, moved),
	TP_STRUCT__entry(
		__field(unsigned int, dev)
		__field(unsigned long, block)
		__field(unsigned long, npages)
		__field(unsigned long, moved)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->block = block;
		__entry->npages = npages;
		__entry->moved = moved;
	),
	TP_printk("dev=%u block=%lu npages=%lu moved=%lu", __entry->dev,
		  __entry->block, __entry->npages, __entry->moved)
);

/* A block of device memory was evicted by physical address. */
DEFINE_EVENT(dmirror_block, dmirror_evict,
	TP_PROTO(unsigned int dev, unsigned long block, unsigned long npages,
		 unsigned long moved),
	TP_ARGS(dev, block, npages, moved)
);

/* What is purgeable of a block was dropped: pages moved to placeholders. */
DEFINE_EVENT(dmirror_block, dmirror_purge,
	TP_PROTO(unsigned int dev, unsigned long block, unsigned long npages,
		 unsigned long moved),
	TP_ARGS(dev, block, npages, moved)
);

/* A CPU touched device memory, and this was the answer to its fault. */
TRACE_EVENT(dmirror_cpu_fault,
	TP_PROTO(unsigned int dev, u64 addr, vm_fault_t ret),
	TP_ARGS(dev, addr, ret),
	TP_STRUCT__entry(
		__field(unsigned int, dev)
		__field(u64, addr)
		__field(unsigned int, ret)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->addr = addr;
		__entry->ret = (__force unsigned int)ret;
	),
	TP_printk("dev=%u addr=%#llx ret=%#x", __entry->dev, __entry->addr,
		  __entry->ret)
);

#endif /* DMIRROR_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
