/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/*
 * The ring that records go through. It is memory that the recorder has mapped, with one
 * position up to which producers have taken room and one up to which the recorder has read.
 * Room is taken by compare and swap: no lock and no helper, of which the kernel's own
 * ring buffer takes both; so a record takes the server some 80 ns less.
 *
 * A record is its length, as one word, and its bytes, to a multiple of 8. The word is
 * written last: until then it is zero, and the recorder waits. It leaves zeros behind.
 * A record lies in one piece: where it begins near the end of a block, it ends in spare
 * memory that each block has there, and the next block begins with as much that is unused.
 *
 * Where there are no atomic instructions, and on other processors than x86, whose writes
 * become visible in any order, records go through the kernel's ring (kernel_ring.bpf.h).
 */
#ifndef RING_BPF_H
#define RING_BPF_H

/* Set, with the map's size, before loading: bytes of the ring, a power of two, and which
 * power those of a block are. */
const volatile __u64 ring_bytes = MCREC_RING_BLOCK;
const volatile __u32 ring_block_shift = 21;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, MCREC_RING_BLOCK + MCREC_RING_SPARE);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mcrec_positions);
} positions SEC(".maps");

/* How often room is tried for: each time in vain, another CPU has got some. */
#define RING_TRIES 64

#define RING_TAKEN(size) (sizeof(__u64) + (((size) + 7) & ~7ULL))

#define RING_FULL (~0ULL)

/*
 * The position of as much room, which nobody else will take, or RING_FULL. Not inlined, and
 * not static: so the kernel verifies it once, and not for each way that leads here.
 */
__noinline __u64 ring_take(__u64 bytes)
{
	struct mcrec_positions *here;
	__u32 zero = 0;
	__s64 used;
	__u64 at;

	here = bpf_map_lookup_elem(&positions, &zero);
	if (!here)
		return RING_FULL;
	for (__u32 i = 0; i < RING_TRIES; i++) {
		at = *(volatile __u64 *)&here->produced;
		/* Negative, if others were faster in between: then this will not be exchanged. */
		used = at + bytes - *(volatile __u64 *)&here->consumed;
		if (used > (__s64)ring_bytes)
			return RING_FULL;
		if (__sync_val_compare_and_swap(&here->produced, at, at + bytes) == at)
			return at;
	}
	return RING_FULL;
}

/* Copies what is short with fewer instructions than a helper takes to begin. Reads and writes
 * up to seven bytes more. */
#define COPY_SHORT 128

static __always_inline void copy(__u8 *to, const void *from, __u64 size)
{
	if (size > COPY_SHORT) {
		bpf_probe_read_kernel(to, size, from);
		return;
	}
	for (__u32 i = 0; i < COPY_SHORT; i += sizeof(__u64)) {
		if (i >= size)
			break;
		*(volatile __u64 *)(to + i) = *(const volatile __u64 *)(from + i);
	}
}

/* Puts a record of 1 to MCREC_RECORD_MAX bytes on the ring. Whether there was room. */
static __always_inline bool ring_output(const void *record, __u64 size)
{
	__u64 at, offset;
	__u32 index;
	__u8 *block;

	if (size > MCREC_RECORD_MAX)
		return false;
	at = ring_take(RING_TAKEN(size));
	if (at == RING_FULL)
		return false;
	index = (at & (ring_bytes - 1)) >> ring_block_shift;
	offset = at & ((1ULL << ring_block_shift) - sizeof(__u64));
	block = bpf_map_lookup_elem(&ring, &index);
	if (!block)	/* never; the verifier cannot know */
		return false;
	block += offset;
	copy(block + sizeof(__u64), record, size);
	/* On x86, which alone has this ring, writes become visible in their order. */
	barrier();
	*(volatile __u64 *)block = size;
	return true;
}

#endif
