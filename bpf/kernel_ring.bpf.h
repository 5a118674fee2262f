/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/*
 * The kernel's own ring, for records of kernels and processors where that of ring.bpf.h
 * cannot be: it needs no atomic instruction, and takes its own care of memory order.
 */
#ifndef KERNEL_RING_BPF_H
#define KERNEL_RING_BPF_H

/* The recorder sets its size before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MCREC_RING_BLOCK);
} ring SEC(".maps");

/* Puts a record of 1 to MCREC_RECORD_MAX bytes on the ring. Whether there was room. The
 * recorder looks by itself: to wake it for each record would cost more than all the rest. */
static __always_inline bool ring_output(const void *record, __u64 size)
{
	if (size > MCREC_RECORD_MAX)
		return false;
	return !bpf_ringbuf_output(&ring, (void *)record, size, BPF_RB_NO_WAKEUP);
}

#endif
