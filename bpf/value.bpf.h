/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* Where values are in what the server sends: they are not copied. */
#ifndef VALUE_BPF_H
#define VALUE_BPF_H

#include "lifetime.bpf.h"

/* Room for segments in one MCREC_SEND, and for the largest of them. */
#define SEGMENTS_BYTES 16384
#define SEGMENT_BYTES (sizeof(struct mcrec_segment) + MCREC_SEGMENT_WHOLE)

/* A header that a value follows has no more, where both are in one long buffer. */
#define LONG_HEAD (MCREC_SEGMENT_WHOLE - MCREC_SEGMENT_END)
/* Parts of one buffer: more than any release sends. No part has more bytes. */
#define PARTS_MAX 16
#define PART_MAX (1U << 30)
/* Of a datagram: request id, number, how many there are, reserved. */
#define FRAME 8

/* Values of no more bytes are in one piece, whatever the size of slab chunks. */
#define CONTIGUOUS 4096

/* The server is a proxy, which sends a value in one buffer with its header; set before
 * loading. */
const volatile bool proxies = false;

#define IOVECS_MAX 1024
/* How many are fetched at once. */
#define IOVECS 16

/* What sendmsg is given. memcached has both on its stack, one after the other, so one
 * read fetches them: a read costs as much as all that is done with what it fetched. */
struct message {
	struct user_msghdr header;
	__u64 alignment;
	struct iovec iovecs[IOVECS];
};

/* As struct read_scratch. */
struct send_scratch {
	__u64 iovecs_at;
	__u64 iovec_count;
	__u64 sent;		/* bytes in the buffers seen so far */
	__u64 used;		/* bytes in segments */
	__u64 value;		/* bytes of a value at the end of the last part */
	__u32 frame;		/* bytes that come before the next reply, or what is left of it */
	/* What comes next, as in struct connection. */
	__u32 head_left;
	__u32 value_left;
	/* Where a value is to be all of the next buffer: its header, as the place of that one's
	 * segment plus one, and its length. Until then value_left is most likely so, and no more. */
	__u32 expected;
	__u32 header_length;
	bool iovecs_fetched;	/* with the header: the first of them */
	/* The constant that was sent last, such as END, and where it is. */
	__u64 constant_at;
	__u64 constant;
	struct message message;
	union {
		struct mcrec_head head;
		struct {
			struct mcrec_send send;
			__u8 segments[SEGMENTS_BYTES + sizeof(__u64)];	/* find() looks at eight */
		};
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct send_scratch);
} send_scratches SEC(".maps");

static __always_inline struct send_scratch *send_scratch_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&send_scratches, &zero);
}

/* What find() says where there is nothing to be found. */
#define NOWHERE MCREC_SEGMENT_WHOLE

/* Where a byte is among those that were copied, from some place on. Eight bytes at a time:
 * those that are it become zero, and a zero borrows; the first byte is the lowest one. Not
 * static, as add_chunk. */
__noinline int find(__u32 used, __u32 from, __u32 byte)
{
	const __u64 ones = 0x0101010101010101ULL;
	struct send_scratch *scratch = send_scratch_here();
	const __u8 *bytes;

	if (!scratch || used > SEGMENTS_BYTES - SEGMENT_BYTES)
		return NOWHERE;
	bytes = scratch->segments + used + sizeof(struct mcrec_segment);
	for (__u32 i = 0; i < MCREC_SEGMENT_WHOLE / sizeof(__u64); i++) {
		__u32 at = from + i * sizeof(__u64);
		__u64 word, found;

		if (at >= MCREC_SEGMENT_WHOLE)
			break;
		word = *(const __u64 *)(bytes + (at & (MCREC_SEGMENT_WHOLE - 1))) ^ ones * byte;
		found = (word - ones) & ~word & ones << 7;
		if (found)
			/* Its lowest bit, as the number of a byte. */
			return at + ((((found & -found) >> 7) * 0x0001020304050607ULL) >> 56);
	}
	return NOWHERE;
}

/* Whether this can be the beginning of a reply that has a value. */
static __always_inline bool may_have_value(const __u8 *bytes)
{
	return (bytes[0] == 'V' && bytes[1] == 'A') || bytes[0] == 0x81;
}

static __always_inline __u32 big_endian(const __u8 *bytes)
{
	return (__u32)bytes[0] << 24 | (__u32)bytes[1] << 16 | (__u32)bytes[2] << 8 | bytes[3];
}

/* A packet of the binary protocol. Of those that are no hits the body is copied too: what
 * follows a header by itself is that, and never another header. */
static __always_inline void find_value_of_packet(struct send_scratch *scratch, const __u8 *bytes,
						 __u32 copied)
{
	enum { HEADER = 24 };
	__u32 extras = bytes[4], key = (__u32)bytes[2] << 8 | bytes[3];
	__u32 body = big_endian(bytes + 8), front = HEADER + extras + key;
	bool hit = false;

	if (copied < HEADER)
		return;
	switch (bytes[1]) {
	case 0x00: case 0x09: case 0x0c: case 0x0d:	/* get and its kin */
	case 0x1d: case 0x1e: case 0x23: case 0x24:	/* gat and its kin */
		hit = !bytes[6] && !bytes[7];
	}
	if (hit && front <= LONG_HEAD && body >= extras + key && body <= PART_MAX) {
		scratch->head_left = front;
		scratch->value_left = body - extras - key;
	} else if (copied == HEADER && body <= PART_MAX) {
		scratch->head_left = HEADER + body;
	}
}

/* Finds where the value is in a reply of text, as find_value(). */
__noinline int read_header(__u32 used, __u32 copied)
{
	struct send_scratch *scratch = send_scratch_here();
	__u32 at, digits = 0;
	const __u8 *bytes;
	__u64 size = 0;

	if (!scratch || used > SEGMENTS_BYTES - SEGMENT_BYTES)
		return 0;
	bytes = scratch->segments + used + sizeof(struct mcrec_segment);
	/* "VA <bytes> <flags>\r\n" or "VALUE <key> <flags> <bytes>\r\n" */
	if (bytes[2] == ' ') {
		at = 3;
	} else if (bytes[2] == 'L' && bytes[3] == 'U' && bytes[4] == 'E' && bytes[5] == ' ') {
		at = find(used, 6, ' ') + 1;
		at = find(used, at, ' ') + 1;
	} else {
		return 0;
	}
	for (__u32 i = 0; i < 10; i++) {
		__u8 digit = bytes[(at + i) & (MCREC_SEGMENT_WHOLE - 1)] - '0';

		if (digit > 9)
			break;
		size = size * 10 + digit;
		digits++;
	}
	if (!digits || size > PART_MAX)
		return 0;
	at = find(used, at + digits, '\n') + 1;
	if (at > copied)
		return 0;
	scratch->head_left = at;
	scratch->value_left = size + 2;
	return 0;
}

/*
 * The size of a value, if it is the last number of its header: "VALUE <key> <flags> <bytes>\r\n"
 * and nothing more. Of one with a CAS unique that is another number, which mostly shows by
 * the value being of another size. 0 where there is no such number.
 */
static __always_inline __u64 last_number(const __u8 *bytes, __u32 copied)
{
	__u64 number = 0, digit_is_worth = 1;
	__u32 at = copied - 3;

	if (copied < sizeof("VALUE k 0 0") || bytes[0] != 'V' || bytes[2] != 'L' ||
	    bytes[(copied - 1) & (MCREC_SEGMENT_WHOLE - 1)] != '\n')
		return 0;
	for (__u32 i = 0; i < 7; i++) {
		__u8 digit = bytes[at & (MCREC_SEGMENT_WHOLE - 1)] - '0';

		if (digit > 9)
			break;
		number += digit * digit_is_worth;
		digit_is_worth *= 10;
		at--;
	}
	return bytes[at & (MCREC_SEGMENT_WHOLE - 1)] == ' ' ? number : 0;
}

/*
 * Finds where the value is in a reply, the first bytes of which were copied. It stays as it
 * is, all head and no value, if it has none, or its header is not all there. Not static, as
 * add_chunk.
 */
__noinline int find_value(__u32 used, __u32 copied)
{
	struct send_scratch *scratch = send_scratch_here();
	const __u8 *bytes;

	if (!scratch || used > SEGMENTS_BYTES - SEGMENT_BYTES)
		return 0;
	bytes = scratch->segments + used + sizeof(struct mcrec_segment);
	if (bytes[0] != 0x81)
		return read_header(used, copied);
	find_value_of_packet(scratch, bytes, copied);
	return 0;
}

/*
 * The same where all of a buffer was copied, and is a header and no more: mostly the value is all
 * of the next buffer, and then a look at the end of the header is enough. Whether it is so.
 */
static __always_inline bool expect_value(struct send_scratch *scratch, __u64 used,
					 const __u8 *bytes, __u32 length)
{
	__u64 number = proxies ? 0 : last_number(bytes, length);

	if (number) {
		scratch->value_left = number + 2;
	} else {
		scratch->head_left = length;
		find_value(used, length);
		if (scratch->head_left != length) {
			scratch->head_left = scratch->value_left = 0;
			return false;
		}
		scratch->head_left = 0;
	}
	if (scratch->value_left) {
		scratch->expected = used + 1;
		scratch->header_length = length;
	}
	return true;
}

/*
 * Whether a buffer of so many bytes is the value that was expected. Then it is added to its
 * header's segment: most replies that have one take this way, so it is kept short.
 */
static __always_inline bool is_value(struct send_scratch *scratch, __u64 length)
{
	__u64 at = scratch->expected;
	struct mcrec_segment *segment;

	if (!at || length != scratch->value_left || length > CONTIGUOUS)
		return false;
	at--;
	barrier_var(at);
	if (at > SEGMENTS_BYTES - SEGMENT_BYTES)	/* never; the verifier cannot know */
		return false;
	segment = (struct mcrec_segment *)(scratch->segments + at);
	segment->length += length;
	scratch->sent += length;
	scratch->value = length;
	scratch->value_left = 0;
	scratch->expected = 0;
	return true;
}

/* Where the value that was expected did not come, all of its header is read. */
static __always_inline void make_sure(struct send_scratch *scratch)
{
	__u32 expected = scratch->expected;

	if (!expected)
		return;
	scratch->expected = 0;
	scratch->value_left = 0;
	scratch->head_left = scratch->header_length;
	find_value(expected - 1, scratch->header_length);
	/* It was copied before. */
	scratch->head_left = 0;
}

/* Copies the header of a value from the beginning of a long buffer. Returns its length, or 0
 * if there is none. */
static __always_inline __u64 copy_long_head(struct send_scratch *scratch, __u64 used, __u8 *bytes,
					    __u64 base)
{
	if (bpf_probe_read_user(bytes, sizeof(__u64), (const void *)base) ||
	    !may_have_value(bytes) ||
	    bpf_probe_read_user(bytes, LONG_HEAD, (const void *)base))
		return 0;
	find_value(used, LONG_HEAD);
	return scratch->head_left <= LONG_HEAD ? scratch->head_left : 0;
}

#endif
