/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* What the server sent to a client. Nothing is parsed here but what tells a value, which
 * is not copied, from the rest. */
#ifndef SEND_BPF_H
#define SEND_BPF_H

#include "lifetime.bpf.h"

/* Where the executable's memory is that is never written: its constants. */
const volatile __u64 readonly_start = 0;
const volatile __u64 readonly_end = 0;

/* Room for segments in one MCREC_SEND, and for the largest of them. */
#define SEGMENTS_BYTES 16384
#define SEGMENT_BYTES (sizeof(struct mcrec_segment) + MCREC_SEGMENT_WHOLE)

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
	bool value_follows;	/* the last buffer was the header of a value */
	bool binary;		/* one of the buffers was the header of a packet */
	bool iovecs_fetched;	/* with the header: the first of them */
	/* The constant that was sent last, such as END, and where it is. */
	__u64 constant_at;
	__u64 constant;
	struct message message;
	union {
		struct mcrec_head head;
		struct {
			struct mcrec_send send;
			__u8 segments[SEGMENTS_BYTES];
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

static __always_inline void submit_send(struct send_scratch *scratch, bool last)
{
	struct connection *connection = connection_of(scratch->head.connection);
	__u64 used = scratch->used;

	barrier_var(used);
	if (!connection || used > SEGMENTS_BYTES)
		return;
	scratch->send.last = last;
	if (!submit(&scratch->head, connection, sizeof(struct mcrec_send) + used))
		COUNT(context_lost);
	scratch->send.first++;
	scratch->send.segments = 0;
	scratch->used = 0;
}

static __always_inline bool is_digit(__u8 byte)
{
	return byte >= '0' && byte <= '9';
}

/*
 * "VALUE <key> <flags> <bytes>\r\n" or "VA <bytes> <flags>\r\n": the next buffer
 * is the value. But the reply to a counter has its value, a number of up to 20
 * digits, in the same buffer as its header.
 */
static __always_inline bool is_value_header(const __u8 *bytes, __u64 length)
{
	__u64 value;

	if (length < 6 || bytes[0] != 'V' || bytes[1] != 'A')
		return false;
	if (bytes[(length - 1) & (MCREC_SEGMENT_WHOLE - 1)] != '\n')
		return false;
	if (bytes[2] != ' ')
		return bytes[2] == 'L' && bytes[3] == 'U' && bytes[4] == 'E' && bytes[5] == ' ';
	value = bytes[3] - '0';
	if (is_digit(bytes[4])) {
		value = value * 10 + bytes[4] - '0';
		if (is_digit(bytes[5]))
			return true;
	}
	return length < value + 3 ||
	       bytes[(length - value - 3) & (MCREC_SEGMENT_WHOLE - 1)] != '\n';
}

/* Copies bytes that the executable has among its constants, and at most eight of them:
 * mostly they are those of the last time. */
static __always_inline long copy_constant(struct send_scratch *scratch, __u8 *to, __u64 base)
{
	if (scratch->constant_at != base) {
		scratch->constant_at = 0;
		if (bpf_probe_read_user(&scratch->constant, sizeof(scratch->constant),
					(const void *)base))
			return -1;
		scratch->constant_at = base;
	}
	*(__u64 *)to = scratch->constant;
	return 0;
}

static __always_inline bool is_constant(__u64 base, __u64 length)
{
	enum { COPIED = sizeof(((struct send_scratch *)0)->constant) };

	return length <= COPIED && base >= readonly_start && base + COPIED <= readonly_end;
}

static __always_inline long copy_segment(struct send_scratch *scratch, __u8 *to, __u64 base,
					 __u64 length)
{
	if (is_constant(base, length))
		return copy_constant(scratch, to, base);
	return bpf_probe_read_user(to, length, (const void *)base);
}

static __always_inline void add_segment(struct send_scratch *scratch, __u64 base, __u64 length)
{
	struct mcrec_segment *segment;
	bool value = scratch->value_follows;
	__u64 used, head = length, tail = 0;
	__u8 *bytes;

	if (scratch->used > SEGMENTS_BYTES - SEGMENT_BYTES)
		submit_send(scratch, false);
	used = scratch->used;
	barrier_var(used);
	if (used > SEGMENTS_BYTES - SEGMENT_BYTES)	/* never; the verifier cannot know */
		return;
	segment = (struct mcrec_segment *)(scratch->segments + used);
	bytes = scratch->segments + used + sizeof(*segment);
	barrier_var(head);
	if (value) {
		head = 0;
	} else if (head > MCREC_SEGMENT_WHOLE) {
		head = tail = MCREC_SEGMENT_END;
		if (bpf_probe_read_user(bytes, MCREC_SEGMENT_END, (const void *)base) ||
		    bpf_probe_read_user(bytes + MCREC_SEGMENT_END, MCREC_SEGMENT_END,
					(const void *)(base + length - MCREC_SEGMENT_END))) {
			COUNT(context_lost);
			head = tail = 0;
		}
	} else if (copy_segment(scratch, bytes, base, head)) {
		COUNT(context_lost);
		head = 0;
	}
	/* A packet of the binary protocol; its value may begin with anything. */
	if (bytes[0] == 0x81 && head == 24)
		scratch->binary = true;
	scratch->value_follows = !scratch->binary && !tail && is_value_header(bytes, head);
	segment->length = length;
	segment->head = head;
	segment->tail = tail;
	scratch->used = used + sizeof(*segment) + head + tail;
	scratch->sent += length;
	scratch->send.segments++;
}

/* One buffer of a send. Whether there is no more to be done. Not static, as add_chunk. */
__noinline int add_iovec(__u32 index)
{
	struct send_scratch *scratch = send_scratch_here();
	__u64 i = index % IOVECS, count;
	struct iovec *iovecs;

	if (!scratch)
		return 1;
	iovecs = scratch->message.iovecs;
	if (!i && (index || !scratch->iovecs_fetched)) {
		count = scratch->iovec_count - index;
		barrier_var(count);
		if (count > IOVECS)
			count = IOVECS;
		if (bpf_probe_read_user(iovecs, count * sizeof(struct iovec),
					(const void *)(scratch->iovecs_at +
						       (__u64)index * sizeof(struct iovec)))) {
			COUNT(context_lost);
			return 1;
		}
	}
	if (iovecs[i].iov_len)
		add_segment(scratch, iovecs[i].iov_base, iovecs[i].iov_len);
	return scratch->sent >= scratch->send.accepted;
}

static __always_inline void add_message(struct send_scratch *scratch, __u64 at)
{
	struct message *message = &scratch->message;
	__u64 iovecs_at = at + __builtin_offsetof(struct message, iovecs);
	__u64 count;

	scratch->iovecs_fetched = true;
	if (bpf_probe_read_user(message, sizeof(*message), (const void *)at)) {
		/* There may be no memory where the buffers' addresses would be. */
		scratch->iovecs_fetched = false;
		if (bpf_probe_read_user(&message->header, sizeof(message->header),
					(const void *)at)) {
			COUNT(context_lost);
			return;
		}
	}
	if (message->header.msg_iov != iovecs_at)
		scratch->iovecs_fetched = false;
	count = message->header.msg_iovlen;
	if (count > IOVECS_MAX)
		count = IOVECS_MAX;
	scratch->iovecs_at = message->header.msg_iov;
	scratch->iovec_count = count;
	for (__u32 i = 0; i < IOVECS_MAX; i++)
		if (i >= count || add_iovec(i))
			break;
}

static __always_inline int sent(struct pt_regs *regs, struct sock *sock, __u64 accepted, bool vector)
{
	__u32 descriptor = PT_REGS_PARM1_SYSCALL(regs);
	struct connection *connection = connection_of(descriptor);
	struct send_scratch *scratch = send_scratch_here();
	__u64 argument = PT_REGS_PARM2_SYSCALL(regs);

	if (!connection) {
		COUNT(context_lost);
		return 0;
	}
	if (!scratch || !is_of_client(connection, descriptor, sock) || connection->step == SKIPPING)
		return 0;
	if (connection->step != UNCLEAR && vector)
		connection->step = READY;
	fill_head(&scratch->head, descriptor, INODE_OF(connection->owner), MCREC_SEND);
	scratch->send.accepted = accepted;
	scratch->send.first = 0;
	scratch->send.segments = 0;
	scratch->sent = 0;
	scratch->used = 0;
	scratch->value_follows = false;
	scratch->binary = false;
	if (vector)
		add_message(scratch, argument);
	else
		add_segment(scratch, argument, PT_REGS_PARM3_SYSCALL(regs));
	submit_send(scratch, true);
	return 0;
}

#endif
